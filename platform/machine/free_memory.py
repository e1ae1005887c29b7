"""Free host memory of a process: the machine's free memory, limited by the process's control groups.

A container sees the machine's memory but is killed at its own limit, so the smaller of the two counts. Reclaimable page
cache counts as free. Versions 1 and 2 of control groups are supported; without them, the machine's free memory counts.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
NO_LIMIT = float("inf")


def free_bytes(root: Path = ROOT) -> int:
    """Free host memory in bytes. `root`: the folder with proc/ and sys/."""
    import psutil

    return int(min(psutil.virtual_memory().available, group_free_bytes(root)))


def group_free_bytes(root: Path) -> float:
    """The least free memory of any control group of this process or its parents; infinity without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return NO_LIMIT
    mount = root / "sys/fs/cgroup"
    free = NO_LIMIT
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            free = min([free, *(free_in(folder, "memory.max", "memory.current") for folder in folders(mount, path))])
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            free = min([free, *(free_in(folder, *names) for folder in folders(mount / "memory", path))])
    return free


def folders(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and its parents. In a container the path may be the host's; only the mount exists then."""
    folder = mount / path.lstrip("/")
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def free_in(folder: Path, limit_name: str, used_name: str) -> float:
    """The group's limit minus its memory that cannot be reclaimed."""
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / used_name).read_text())
        cache = cache_bytes((folder / "memory.stat").read_text())
    except (OSError, ValueError):
        return NO_LIMIT
    return NO_LIMIT if limit == "max" else max(0, int(limit) - max(0, used - cache))


def cache_bytes(stat: str) -> int:
    """Page cache of the group and its children; in version 1 the keys of these sums start with total_."""
    rows = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    return sum(int(rows.get(f"total_{name}", rows.get(name, 0))) for name in ("inactive_file", "active_file"))
