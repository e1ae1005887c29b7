"""A crew: workers that do one thing together, in step, as a distributed training does; unlike a fleet, where each item
is somebody's own.

Owns what a member knows of its place, and how members exchange tensors: through NCCL between GPUs, through gloo between
CPUs. The process that starts a crew watches it from outside. A crew that loses a member is restarted as a whole and
continues from what it has saved. `cluster.py` runs crews on Ray; the crew here has one member.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from longtake.platform import errors
from longtake.platform.errors import LongtakeError
from longtake.platform.store import durable
from longtake.platform.workers.signals import StopFlag

if TYPE_CHECKING:
    import torch

WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class RankContext:
    """A member's place: `rank` of `world`. Its process group is up when work begins."""

    rank: int
    world: int


class Work(Protocol):
    """What every member calls; it pickles, and its errors end the crew."""

    def __call__(self, context: RankContext) -> None: ...


@dataclass(frozen=True)
class GroupSize:
    """How many members, and what each is given; `settings` as of a fleet's Group."""

    workers: int
    gpus: float = 0.0
    restarts: int = 3
    settings: tuple[str, ...] = ()


class WatchedThread(threading.Thread):
    """Runs `action` beside the watching thread and keeps how it ended."""

    def __init__(self, action: Callable[[], Any]):
        super().__init__(daemon=True, name="worker-group")
        self.action = action
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.action()
        except BaseException as error:
            self.error = error


def watched(action: Callable[[], Any], watch: Callable[[], None], stop: StopFlag) -> None:
    """Calls `watch` while `action` runs, and once after; raises what either raises. A second signal waits no longer."""
    thread = WatchedThread(action)
    thread.start()
    while thread.is_alive() and stop.count < 2:
        thread.join(WATCH_SECONDS)
        watch()
    if thread.error is not None:
        raise thread.error


def record_error(folder: Path, error: LongtakeError) -> None:
    """Keeps the error that ends a crew: starting again would not mend it."""
    durable.replace_file(folder / "error.json", durable.json_bytes({"kind": type(error).__name__, "line": str(error)}))


def recorded_error(folder: Path) -> LongtakeError | None:
    """The error that ended the crew, if one did."""
    found = durable.read_json(folder / "error.json")
    return getattr(errors, found["kind"], LongtakeError)(found["line"]) if found else None


def backend_for(device_type: str) -> str:
    """The backends of a process group whose members compute on this kind of device, `cuda` or `cpu`.

    With both backends, NCCL exchanges the tensors of GPUs, and gloo those in host memory and barriers.
    """
    return "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"


def member_device() -> "torch.device":
    """The device of a member: the GPU that LOCAL_RANK names, or the CPU if the process sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def single_rank() -> RankContext:
    """The only seat of a process group of one. The group stays for the life of the process: DeepSpeed keeps what it has
    found of it in globals, and a second group would not be the one that it knows."""
    import torch
    import torch.distributed as dist

    os.environ.setdefault("LOCAL_RANK", "0")
    if not dist.is_initialized():
        device = member_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # NCCL uses the current device
        dist.init_process_group(backend_for(device.type), store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    return RankContext(0, 1)


def run_single_rank(work: Work) -> None:
    """A crew of one, right here."""
    work(single_rank())
