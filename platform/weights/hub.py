"""Files of Hugging Face repositories, fetched by name at one commit, and of plain addresses (web.py).

The only importer of the hub's client.

What the client is not asked to do is keep an unfinished file: it is kept here, beside its place, so that a fetch that
was cut off, in whatever way, goes on where it stopped. A file counts as fetched when its bytes have the hash that the
repository gives for it. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from longtake.platform.errors import StorageError, WeightsError
from longtake.platform.store.durable import fsync_file, make_folder, storage_errors

HUB = "https://huggingface.co"
PART = ".part"


@dataclass(frozen=True)
class Snapshot:
    """A repository as it was at one commit, or the files of an address, which has no commits (web.py)."""

    repo: str
    commit: str | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class Remote:
    """One file of a snapshot: `location` is where its bytes are.

    `etag` is its sha256 (large files), git's hash or, at a plain address, some other name of this version.
    """

    snapshot: Snapshot
    path: str
    etag: str
    bytes: int
    location: str

    @property
    def label(self) -> str:
        return f"{self.snapshot.repo}/{self.path}"

    @property
    def server(self) -> str:
        parts = urlsplit(self.location)
        return f"{parts.scheme}://{parts.netloc}"


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def snapshot(repo: str, revision: str | None = None) -> Snapshot:
    """The commit that a branch, tag or commit (None: main) stands for, and its files. Raises WeightsError."""
    with hub_errors(f"{repo} at {revision or 'main'}"):
        from huggingface_hub import HfApi

        told = HfApi(endpoint=endpoint(), library_name="longtake").model_info(repo, revision=revision)
    return Snapshot(repo, str(told.sha), tuple(one.rfilename for one in told.siblings or ()))


def look_up(source: Snapshot, path: str) -> Remote:
    """Where a file is, its size and its hash. Raises WeightsError."""
    with hub_errors(f"{source.repo}/{path}"):
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(source.repo, path, revision=source.commit, endpoint=endpoint())
        told = get_hf_file_metadata(url, headers=headers(), endpoint=endpoint())
    if told.etag is None or told.size is None:
        raise WeightsError(f"{source.repo}/{path}: {endpoint()} gives no hash and size of it; use another HF_ENDPOINT")
    return Remote(source, path, told.etag, told.size, told.location)


def fetch(remote: Remote, path: Path) -> str:
    """Brings a file to `path`, over what is there, and returns its sha256. Raises WeightsError, StorageError.

    An earlier attempt's bytes are used if the file is still the same one. One process at a time for one place.
    """
    make_folder(path.parent)
    part = part_of(remote, path)
    with storage_errors(path, "fetch the file"):
        check_space(path.parent, remote.bytes - (part.stat().st_size if part.exists() else 0))
        with part.open("ab") as file, hub_errors(remote.label, remote.server):
            download(remote, file)
        found = check_hash(remote, part)
        fsync_file(part)
        os.replace(part, path)
        for other in path.parent.glob(f".{path.name}.*{PART}"):
            other.unlink()
    return found


def part_of(remote: Remote, path: Path) -> Path:
    """Where the unfinished file lies: beside its place, under a name of its own for every version."""
    return path.with_name(f".{path.name}.{hashlib.sha256(remote.etag.encode()).hexdigest()[:12]}{PART}")


def download(remote: Remote, file: Any) -> None:
    """Appends what `file` lacks, with a progress bar on a terminal."""
    from huggingface_hub.file_download import http_get

    have = file.tell()
    if have > remote.bytes:
        file.truncate(have := 0)
    own = urlsplit(remote.location).netloc == urlsplit(endpoint()).netloc
    sent = headers() if own else {key: value for key, value in headers().items() if key.lower() != "authorization"}
    sent["Accept-Encoding"] = "identity"  # a compressed answer cannot be continued
    name = remote.path.rpartition("/")[2]
    http_get(remote.location, file, resume_size=have, headers=sent, expected_size=remote.bytes, displayed_filename=name)


def check_hash(remote: Remote, part: Path) -> str:
    """sha256 of a fetched file; takes it away and raises WeightsError if it is not the one that was asked for."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % remote.bytes, usedforsecurity=False)
    with part.open("rb") as file:
        while data := file.read(1 << 22):
            sha256.update(data)
            git.update(data)
    known = {64: sha256.hexdigest(), 40: git.hexdigest()}.get(len(remote.etag))
    if known not in (None, remote.etag):
        part.unlink()
        said = "its repository says" if remote.snapshot.commit else "its publisher's is"
        raise WeightsError(f"{remote.label}: came with hash {known}, {said} {remote.etag}; pull it again")
    return sha256.hexdigest()


def check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed / 1e9:.1f} GB to come, {free / 1e9:.1f} GB free; free some space")


def headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers

    built: dict[str, str] = build_hf_headers(library_name="longtake")
    return built


@contextmanager
def hub_errors(label: str, address: str = "") -> Iterator[None]:
    """Turns what the client raises into one line; an OSError with a number that is no connection's is the disk's.

    `address`: who is asked, where that is not the hub.
    """
    address = address or endpoint()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise WeightsError(f"{label}: HF_HUB_OFFLINE is set; unset it, or take the files --from a folder")
    from huggingface_hub import errors

    transport = errors.HfHubHTTPError.__bases__[0]  # the base of all that the client's HTTP library raises
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise WeightsError(f"{label}: no such repository, or it asks for access; set HF_TOKEN or --from") from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise WeightsError(f"{label}: {address} has no such revision or file; check --revision") from error
    except (OSError, HTTPException, transport) as error:
        is_network = isinstance(error, ConnectionError | transport)
        if not is_network and getattr(error, "errno", None) is not None:
            raise
        told = error.reason if type(error) is URLError else error
        reason = (str(told).strip() or type(error).__name__).splitlines()[0]
        where = "" if label.startswith(address) else f"{address}: "
        raise WeightsError(
            f"{label}: {where}{reason}; run it again, it goes on where it stopped, or take the files --from a folder"
        ) from error
