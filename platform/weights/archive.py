"""Extracts one member of a zip archive to a temporary file.

The temporary path does not depend on the member's path, so an archive cannot write outside the folder. The declared
size is checked first, and zipfile reads no more than that.
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
    """The member `name`, or the only one whose path ends in it, as a file that exists within the `with` block.

    Raises WeightsError if the file is not a zip, or if the member is missing, damaged or larger than `limit` bytes.
    """
    path = temp_path(archive.parent, name.rpartition("/")[2])
    try:
        with zip_errors(archive, name), zipfile.ZipFile(archive) as zip_file:
            info = find(zip_file, archive, name)
            if info.file_size > limit:
                size = f"{info.file_size / 1e9:.1f} GB"
                raise WeightsError(f"{archive}: {name} has {size}, more than any known file; use another archive")
            check_space(archive.parent, info.file_size)
            with storage_errors(path, "unpack the file"), path.open("wb") as file, zip_file.open(info) as data:
                while chunk := data.read(STEP):
                    file.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def find(zip_file: zipfile.ZipFile, archive: Path, name: str) -> zipfile.ZipInfo:
    infos = [info for info in zip_file.infolist() if f"/{info.filename}".endswith(f"/{name}")]
    if len(infos) != 1:
        raise WeightsError(f"{archive}: contains {len(infos)} files named {name}, expected one; fetch it again")
    return infos[0]


@contextmanager
def zip_errors(archive: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{archive}: cannot read {name} ({error}); fetch it again") from error
