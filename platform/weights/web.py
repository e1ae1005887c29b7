"""Files at plain https addresses, which have no repositories or commits; downloaded like those of the hub (hub.py).

A file is identified by the hash in the catalogue or, without one, by the server's name of this version.
LONGTAKE_MIRROR is the address of a mirror with the same files under <host>/<path>, the layout of `wget -x`.
"""

import os
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.weights.entries import WEB, Origin
from longtake.platform.weights.hub import Remote, Snapshot, hub_errors

MIRROR = "LONGTAKE_MIRROR"
SECONDS = 30.0


def address(repo: str) -> str:
    """The address of the files of `repo` (https:// and a host), or of their mirror. Raises ConfigError."""
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return repo
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise ConfigError(f"{MIRROR}={mirror}: is not an http address; for a folder use --from")
    return f"{mirror.rstrip('/')}/{repo.removeprefix(WEB)}"


def snapshot(origin: Origin) -> Snapshot:
    return Snapshot(origin.repo, None, tuple(fetch.path for fetch in origin.files))


def look_up(source: Snapshot, path: str, sha256: str = "") -> Remote:
    """Look up a file's location after redirections, its size, and its full hash or the server's name of this version.

    Requests one byte, because not every server supports HEAD requests. Raises WeightsError, ConfigError.
    """
    base = address(source.repo)
    url = f"{base}/{path}"
    with hub_errors(url, base):
        request = Request(url, headers={"Range": "bytes=0-0", "User-Agent": "longtake"})
        with urlopen(request, timeout=SECONDS) as response:
            fields, location = response.headers, response.url
    size = (fields.get("Content-Range") or "").rpartition("/")[2] or fields.get("Content-Length") or ""
    if not size.isdigit():
        raise WeightsError(f"{url}: the server does not report its size; pull --from a folder")
    version = fields.get("ETag") or fields.get("Last-Modified") or f"{size} bytes"
    return Remote(source, path, sha256 if len(sha256) == 64 else version, int(size), location)
