"""`longtake doctor`: what this machine has, what can run on it, and the command for each thing that is missing.

Looks and does not touch: nothing is fetched, loaded or written. Ends with 1 when the core cannot run; an extra or
weights that are missing are no fault.
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

from longtake.jobs.capabilities import Capability, backbones, declared, dimensions, uninstalled

if TYPE_CHECKING:
    from rich.console import Console

OLDEST_PYTHON = (3, 11)
LEAST_FREE = 1_000_000_000  # bytes; a video of 240 s has 5 to 32 MB, a sweep some hundreds of them
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
    """`remedy`: what to do where something is missing. Only a `core` one without which nothing runs is a fault."""

    what: str
    told: str
    remedy: str = ""
    core: bool = False

    @property
    def is_fault(self) -> bool:
        return self.core and bool(self.remedy)


def doctor(output: str, console: Console) -> int:
    found = [*core(), *places(output), *extras()]
    able = [*dimensions(), *backbones()]
    console.print(findings_table(found))
    console.print(capabilities_table(able))
    faults = [one for one in found if one.is_fault]
    told = "the core is fine" if not faults else f"{len(faults)} to mend: {', '.join(one.what for one in faults)}"
    can = sum(not one.missing for one in able)
    console.print(f"{told}; {can} of {len(able)} dimensions and backbones can run", soft_wrap=True)
    return 1 if faults else 0


def core() -> Iterator[Finding]:
    """What every run needs, and what it computes on."""
    python = ".".join(map(str, sys.version_info[:3]))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding("python", python, "" if sys.version_info >= OLDEST_PYTHON else f"install {oldest} or newer", True)
    missing = uninstalled()
    there = len(declared()) - len(missing)
    remedy = f"{', '.join(missing)} not installed; run pip install longtake" if missing else ""
    yield Finding("packages", f"{there} of {len(declared())}", remedy, True)
    if "torch" not in missing:
        yield Finding("torch", f"{version('torch')}, {devices()}")
    if "ray" not in missing:
        yield Finding("ray", version("ray"))
    if "av" not in missing:
        yield video()


def devices() -> str:
    """'2 GPUs: NVIDIA H100 80GB HBM3, ...' or what computes where there is none."""
    import torch

    if not torch.cuda.is_available():
        return f"no GPU: computes on {os.cpu_count()} CPU cores"
    count = torch.cuda.device_count()
    names = ", ".join(dict.fromkeys(torch.cuda.get_device_name(one) for one in range(count)))
    return f"{count} GPU{'s' if count > 1 else ''}: {names}"


def video() -> Finding:
    import av

    try:
        av.codec.Codec(ENCODER, "w")
    except ValueError:
        return Finding("video", f"av {av.__version__} without {ENCODER}", "run pip install --force-reinstall av", True)
    return Finding("video", f"av {av.__version__} with {ENCODER}", core=True)


def places(output: str) -> Iterator[Finding]:
    """Where results and weights go: how much room there is, and whether they may be written."""
    from longtake.platform.weights.artefacts import weights_root

    if "://" in output:
        yield Finding("output", f"{output}: no local folder, not looked at")
    else:
        yield place("output", Path(output).absolute(), "name another one: output=FOLDER", True)
    yield place("weights", weights_root(), "name another one: LONGTAKE_WEIGHTS=FOLDER", False)


def place(what: str, folder: Path, remedy: str, is_core: bool) -> Finding:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(what, f"{folder}: cannot be written", remedy, is_core)
    told = f"{folder}: {free / 1e9:.1f} GB free"
    return Finding(what, told, "" if free >= LEAST_FREE else f"free some space, or {remedy}", is_core)


def extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        missing = uninstalled(extra)
        told = f"{purpose}: {'no ' + ', '.join(missing) if missing else 'installed'}"
        yield Finding(f"[{extra}]", told, f"pip install 'longtake[{extra}]'" if missing else "")


def findings_table(found: list[Finding]) -> object:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("here", "", "to do"):
        table.add_column(name, overflow="fold", no_wrap=name == "here")
    for one in found:
        table.add_row(plain(one.what), plain(one.told), plain(one.remedy))
    return table


def capabilities_table(able: list[Capability]) -> object:
    """A row for each dimension and backbone; one for a group of which all can run."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("suite, or backbones", "dimension, or backbone", "can run", "it lacks"):
        table.add_column(name, overflow="fold", no_wrap=name != "it lacks")
    for group, rows in groupby(able, lambda one: one.group):
        members = list(rows)
        if not any(one.missing for one in members):
            table.add_row(group, f"all {len(members)}", "yes", "")
            continue
        for one in members:
            table.add_row(group, one.name, "no" if one.missing else "yes", plain("\n".join(one.missing)))
    return table


def plain(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", r"\[")
