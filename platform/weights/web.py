"""Files at plain https addresses, which know no repositories and no commits, fetched like those of the hub (hub.py).

A file's identity is the hash that the catalogue knows, else what its server calls this version of it. LONGTAKE_MIRROR
names an address that keeps the same files below <host>/<path>, as a served folder of `wget -x` does.
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
    """Where the files of `repo` (https:// and a host) are asked for."""
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return repo
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise ConfigError(f"{MIRROR}={mirror}: is no http address; for a folder use --from")
    return f"{mirror.rstrip('/')}/{repo.removeprefix(WEB)}"


def snapshot(origin: Origin) -> Snapshot:
    return Snapshot(origin.repo, None, tuple(one.path for one in origin.files))


def look_up(source: Snapshot, path: str, sha256: str = "") -> Remote:
    """Where a file is, after redirections, its size, and its whole hash or its server's name for this version.

    Asks for one byte, since not every server answers questions without bytes. Raises WeightsError, ConfigError.
    """
    base = address(source.repo)
    url = f"{base}/{path}"
    with hub_errors(url, base):
        request = Request(url, headers={"Range": "bytes=0-0", "User-Agent": "longtake"})
        with urlopen(request, timeout=SECONDS) as answer:
            told, location = answer.headers, answer.url
    whole = (told.get("Content-Range") or "").rpartition("/")[2] or told.get("Content-Length") or ""
    if not whole.isdigit():
        raise WeightsError(f"{url}: its server gives no size of it; take the file --from a folder")
    version = told.get("ETag") or told.get("Last-Modified") or f"{whole} bytes"
    return Remote(source, path, sha256 if len(sha256) == 64 else version, int(whole), location)
