"""One file of a zip, without unpacking the rest.

The place that a member is written to has nothing to do with its name, so no name leads out of the folder; what it may
take is bounded before and while it is read.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import error as ZlibError

from longtake.platform.errors import WeightsError
from longtake.platform.store.durable import storage_errors, temp_path
from longtake.platform.weights.hub import check_space

MAX_BYTES = 4 << 30
STEP = 1 << 22


@contextmanager
def member(archive: Path, name: str, limit: int = MAX_BYTES) -> Iterator[Path]:
    """The member `name`, or the only one whose path ends so, as a file that is there within the block.

    Raises WeightsError for what is no zip, has no such member or a damaged one, and for one of more than `limit` bytes.
    """
    path = temp_path(archive.parent, name.rpartition("/")[2])
    try:
        with zip_errors(archive, name), zipfile.ZipFile(archive) as opened:
            info = find(opened, archive, name)
            if info.file_size > limit:
                size = f"{info.file_size / 1e9:.1f} GB"
                raise WeightsError(f"{archive}: {name} has {size}, more than any known one; take another file")
            check_space(archive.parent, info.file_size)
            with storage_errors(path, "unpack the file"), path.open("wb") as file, opened.open(info) as data:
                while part := data.read(STEP):
                    file.write(part)
        yield path
    finally:
        path.unlink(missing_ok=True)


def find(opened: zipfile.ZipFile, archive: Path, name: str) -> zipfile.ZipInfo:
    infos = [one for one in opened.infolist() if f"/{one.filename}".endswith(f"/{name}")]
    if len(infos) != 1:
        raise WeightsError(f"{archive}: holds {len(infos)} files {name}, not one; fetch it again")
    return infos[0]


@contextmanager
def zip_errors(archive: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{archive}: {name} cannot be read of it ({error}); fetch it again") from error
