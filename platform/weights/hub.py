"""Downloads files of Hugging Face repositories, by name at one commit, and of plain web addresses (web.py).

The only importer of the hub's client. Partial files are kept beside their target, so that an interrupted download
resumes where it stopped. A download is complete when the file has the hash that its repository lists. HF_ENDPOINT,
HF_TOKEN and HF_HUB_OFFLINE are respected.
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
    """The files of a repository at one commit, or of a web address, which has no commits (web.py)."""

    repo: str
    commit: str | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class Remote:
    """One file of a snapshot. `location`: the URL of its content.

    `etag`: its sha256 (large files), its git hash or, at a plain web address, another identifier of this version.
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
    """Resolve a branch, tag or commit (None: main) to a commit and its files. Raises WeightsError."""
    with hub_errors(f"{repo} at {revision or 'main'}"):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint(), library_name="longtake").model_info(repo, revision=revision)
    return Snapshot(repo, str(info.sha), tuple(file.rfilename for file in info.siblings or ()))


def look_up(source: Snapshot, path: str) -> Remote:
    """Look up the location, size and hash of a file. Raises WeightsError."""
    with hub_errors(f"{source.repo}/{path}"):
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(source.repo, path, revision=source.commit, endpoint=endpoint())
        metadata = get_hf_file_metadata(url, headers=headers(), endpoint=endpoint())
    if metadata.etag is None or metadata.size is None:
        raise WeightsError(f"{source.repo}/{path}: {endpoint()} returns no hash or size; use another HF_ENDPOINT")
    return Remote(source, path, metadata.etag, metadata.size, metadata.location)


def fetch(remote: Remote, path: Path) -> str:
    """Download a file to `path`, replacing any file there. Returns its sha256. Raises WeightsError, StorageError.

    Resumes an earlier download of the same version. Only one process at a time may download to a path.
    """
    make_folder(path.parent)
    part = part_of(remote, path)
    with storage_errors(path, "fetch the file"):
        check_space(path.parent, remote.bytes - (part.stat().st_size if part.exists() else 0))
        with part.open("ab") as file, hub_errors(remote.label, remote.server):
            download(remote, file)
        digest = check_hash(remote, part)
        fsync_file(part)
        os.replace(part, path)
        for other in path.parent.glob(f".{path.name}.*{PART}"):
            other.unlink()
    return digest


def part_of(remote: Remote, path: Path) -> Path:
    """Path of the partial file, beside the target, with a different name for every version."""
    return path.with_name(f".{path.name}.{hashlib.sha256(remote.etag.encode()).hexdigest()[:12]}{PART}")


def download(remote: Remote, file: Any) -> None:
    """Append the missing bytes to `file`, with a progress bar on a terminal."""
    from huggingface_hub.file_download import http_get

    size = file.tell()
    if size > remote.bytes:
        file.truncate(size := 0)
    is_hub = urlsplit(remote.location).netloc == urlsplit(endpoint()).netloc
    fields = headers() if is_hub else {key: value for key, value in headers().items() if key.lower() != "authorization"}
    fields["Accept-Encoding"] = "identity"  # a compressed response cannot be resumed
    name = remote.path.rpartition("/")[2]
    http_get(
        remote.location, file, resume_size=size, headers=fields, expected_size=remote.bytes, displayed_filename=name
    )


def check_hash(remote: Remote, part: Path) -> str:
    """sha256 of a downloaded file. If it is not the expected one, deletes the file and raises WeightsError."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % remote.bytes, usedforsecurity=False)
    with part.open("rb") as file:
        while data := file.read(1 << 22):
            sha256.update(data)
            git.update(data)
    computed = {64: sha256.hexdigest(), 40: git.hexdigest()}.get(len(remote.etag))
    if computed not in (None, remote.etag):
        part.unlink()
        owner = "repository" if remote.snapshot.commit else "publisher"
        raise WeightsError(f"{remote.label}: has hash {computed}, its {owner} lists {remote.etag}; pull it again")
    return sha256.hexdigest()


def check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; free some space")


def headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers

    fields: dict[str, str] = build_hf_headers(library_name="longtake")
    return fields


@contextmanager
def hub_errors(label: str, address: str = "") -> Iterator[None]:
    """Convert the client's errors to WeightsError. An OSError with an errno, except a ConnectionError, is the disk's
    and passes through. `address`: the server, if it is not the hub.
    """
    address = address or endpoint()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise WeightsError(f"{label}: HF_HUB_OFFLINE is set; unset it, or pull --from a folder")
    from huggingface_hub import errors

    transport = errors.HfHubHTTPError.__bases__[0]  # the base class of the errors of the client's HTTP library
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise WeightsError(f"{label}: no such repository, or no access to it; set HF_TOKEN or --from") from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise WeightsError(f"{label}: {address} has no such revision or file; check --revision") from error
    except (OSError, HTTPException, transport) as error:
        is_network = isinstance(error, ConnectionError | transport)
        if not is_network and getattr(error, "errno", None) is not None:
            raise
        cause = error.reason if type(error) is URLError else error
        reason = (str(cause).strip() or type(error).__name__).splitlines()[0]
        where = "" if label.startswith(address) else f"{address}: "
        raise WeightsError(
            f"{label}: {where}{reason}; run the command again to resume, or pull --from a folder"
        ) from error
