"""`longtake doctor`: checks what is installed and what can run here, and prints a command for each missing part.

Read-only: downloads, loads and writes nothing. Returns 1 if the core cannot run; missing extras and missing weights are
not faults.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.jobs.inventory.capabilities import (
    Capability,
    backbones,
    dimensions,
    missing_requirements,
    requirements_of,
)

if TYPE_CHECKING:
    from rich.console import Console

OLDEST_PYTHON = (3, 11)
LEAST_FREE = 1_000_000_000  # bytes; a 240 s video takes 5 to 32 MB, and a sweep makes hundreds
EXTRAS = {
    "wan": "backbones of the Wan family",
    "vbench": "suite vbench-long",
    "train": "train embedders",
    "flash-attn": "faster attention on GPUs",
    "s3": "output on s3://",
}
ENCODER = "libx264"


@dataclass(frozen=True)
class Finding:
    """The `state` of one part. `remedy`: how to fix it, if needed. Only a `core` part can be a fault."""

    what: str
    state: str
    remedy: str = ""
    core: bool = False

    @property
    def is_fault(self) -> bool:
        return self.core and bool(self.remedy)


def doctor(output: str, console: Console) -> int:
    findings = [*core(), *places(output), *extras()]
    capabilities = [*dimensions(), *backbones()]
    console.print(findings_table(findings))
    console.print(capabilities_table(capabilities))
    faults = [finding for finding in findings if finding.is_fault]
    verdict = "the core is fine" if not faults else f"{len(faults)} to fix: {', '.join(fault.what for fault in faults)}"
    runnable = sum(not capability.missing for capability in capabilities)
    console.print(f"{verdict}; {runnable} of {len(capabilities)} dimensions and backbones can run", soft_wrap=True)
    return 1 if faults else 0


def core() -> Iterator[Finding]:
    """Yields the requirements of every run, and the devices."""
    python = ".".join(map(str, sys.version_info[:3]))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding("python", python, "" if sys.version_info >= OLDEST_PYTHON else f"install {oldest} or newer", True)
    missing = missing_requirements()
    installed = len(requirements_of()) - len(missing)
    remedy = f"{', '.join(missing)} not installed; run pip install . in the checkout" if missing else ""
    yield Finding("packages", f"{installed} of {len(requirements_of())}", remedy, True)
    if "torch" not in missing:
        yield Finding("torch", f"{version('torch')}, {devices()}")
    if "ray" not in missing:
        yield Finding("ray", version("ray"))
    if "av" not in missing:
        yield video()


def devices() -> str:
    """'2 GPUs: NVIDIA H100 80GB HBM3, ...', or the number of CPU cores."""
    import torch

    if not torch.cuda.is_available():
        return f"no GPU; using {os.cpu_count()} CPU cores"
    count = torch.cuda.device_count()
    names = ", ".join(dict.fromkeys(torch.cuda.get_device_name(index) for index in range(count)))
    return f"{count} GPU{'s' if count > 1 else ''}: {names}"


def video() -> Finding:
    import av

    try:
        av.codec.Codec(ENCODER, "w")
    except ValueError:
        return Finding("video", f"av {av.__version__} without {ENCODER}", "run pip install --force-reinstall av", True)
    return Finding("video", f"av {av.__version__} with {ENCODER}", core=True)


def places(output: str) -> Iterator[Finding]:
    """Yields the folders of results and weights: their free space, and whether they are writable."""
    from longtake.platform.weights.artefacts import weights_root

    if "://" in output:
        yield Finding("output", f"{output}: not checked, since it is not a local folder")
    else:
        yield place("output", Path(output).absolute(), "choose another folder: output=FOLDER", True)
    yield place("weights", weights_root(), "choose another folder: LONGTAKE_WEIGHTS=FOLDER", False)


def place(what: str, folder: Path, remedy: str, is_core: bool) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    free = shutil.disk_usage(existing).free
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(what, f"{folder}: not writable", remedy, is_core)
    state = f"{folder}: {free / 1e9:.1f} GB free"
    return Finding(what, state, "" if free >= LEAST_FREE else f"free some space, or {remedy}", is_core)


def extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        missing = missing_requirements(extra)
        state = f"{purpose}: {', '.join(missing) + ' not installed' if missing else 'installed'}"
        yield Finding(f"[{extra}]", state, f"pip install '.[{extra}]'" if missing else "")


def findings_table(findings: list[Finding]) -> object:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("part", "state", "to do"):
        table.add_column(name, overflow="fold", no_wrap=name == "part")
    for finding in findings:
        table.add_row(plain(finding.what), plain(finding.state), plain(finding.remedy))
    return table


def capabilities_table(capabilities: list[Capability]) -> object:
    """One row per dimension and backbone; a group that can run entirely has a single row."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("group", "dimension or backbone", "can run", "missing"):
        table.add_column(name, overflow="fold", no_wrap=name != "missing")
    for group, rows in groupby(capabilities, lambda member: member.group):
        members = list(rows)
        if not any(member.missing for member in members):
            table.add_row(group, f"all {len(members)}", "yes", "")
            continue
        for member in members:
            table.add_row(group, member.name, "no" if member.missing else "yes", plain("\n".join(member.missing)))
    return table


def plain(text: str) -> str:
    """The text with rich markup escaped."""
    return text.replace("[", r"\[")
