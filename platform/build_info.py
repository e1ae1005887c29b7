"""Which code runs: the git commit of the checkout, or of the repository that the package was installed from."""

import json
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

MODIFIED = "+modified"
"""Follows the commit of a checkout whose files differ from it."""


@cache
def code_version() -> str | None:
    """The commit, with MODIFIED if that is not exactly what runs; None if it is not known."""
    root = Path(__file__).resolve().parents[1]
    if git(root, "rev-parse", "--show-toplevel") == str(root):  # a package inside another checkout has none of its own
        head = git(root, "rev-parse", "HEAD")
        return head and head + (MODIFIED if git(root, "status", "--porcelain", "--untracked-files=no") else "")
    return installed_commit()


def commit() -> str | None:
    """The commit alone."""
    return (code_version() or "").removesuffix(MODIFIED) or None


def git(folder: Path, *words: str) -> str | None:
    """What git prints; None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed_commit() -> str | None:
    """The commit that an installation from a repository records in direct_url.json (PEP 610)."""
    try:
        record = json.loads(distribution("longtake").read_text("direct_url.json") or "{}")
        found = record.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
