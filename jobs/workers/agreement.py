"""Workers of one kind in one run agree on the versions of their packages.

The first worker of a run writes its versions into the sweep's folder; one with others is refused before it computes
anything, since its pixels or scores might differ from those of the rest. Records hold the versions either way.
"""

import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from longtake.platform.errors import SetupError

OF_PIXELS = ("longtake", "torch", "numpy", "av", "diffusers", "triton")
NODE = "node"


class Folder(Protocol):
    """The store of a sweep."""

    def first_of_run(self, name: str, facts: dict[str, str]) -> dict[str, str]: ...


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Package -> version, of those that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def changes_since(versions: Mapping[str, str]) -> str:
    """How the installed packages differ from those in a take's record: 'torch 2.11.0 -> 2.12.0'; '' if they do not."""
    here = installed(OF_PIXELS)
    changed = [name for name in here if versions.get(name, here[name]) != here[name]]
    return ", ".join(f"{name} {versions[name]} -> {here[name]}" for name in changed)


def check_versions(store: Folder, workers: str, versions: Mapping[str, str]) -> None:
    """Raises SetupError if the first of the `workers` of this run has other versions."""
    here = {**versions, NODE: socket.gethostname()}
    first = store.first_of_run(workers, here)
    for package in sorted({*versions, *first} - {NODE}):
        if versions.get(package) != first.get(package):
            raise SetupError(
                f"{workers}: {package} is {versions.get(package, 'not installed')} on node {here[NODE]}, but "
                f"{first.get(package, 'not installed')} on node {first.get(NODE)}, where this run began; install the "
                "same version on every node and run again"
            )
