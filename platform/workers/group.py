"""A worker group: members that do one job together, such as a distributed training. Workers of a fleet are independent.

Owns the context of a member, and the backends that members exchange tensors with: NCCL between GPUs, gloo between CPUs.
The process that starts a group monitors it. A group that loses a member is restarted as a whole and resumes from its
checkpoint. `ray_cluster.py` runs groups on Ray; this module runs groups of one member.
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
    """The context of a member: `rank` of `world`. Its process group is initialized before the work starts."""

    rank: int
    world: int


class Work(Protocol):
    """The function that every member calls. It must pickle; an error ends the group."""

    def __call__(self, context: RankContext) -> None: ...


@dataclass(frozen=True)
class GroupSize:
    """The number of members and the GPUs of each; `settings` as in a fleet's Group."""

    workers: int
    gpus: float = 0.0
    restarts: int = 3
    settings: tuple[str, ...] = ()


class WatchedThread(threading.Thread):
    """Runs `action` in a thread and keeps its error."""

    def __init__(self, action: Callable[[], Any]):
        super().__init__(daemon=True, name="worker-group")
        self.action = action
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.action()
        except BaseException as error:
            self.error = error


def run_watched(action: Callable[[], Any], watch: Callable[[], None], stop: StopFlag) -> None:
    """Calls `watch` while `action` runs and once after it; raises errors of both. A second signal stops the wait."""
    thread = WatchedThread(action)
    thread.start()
    while thread.is_alive() and stop.count < 2:
        thread.join(WATCH_SECONDS)
        watch()
    if thread.error is not None:
        raise thread.error


def record_error(folder: Path, error: LongtakeError) -> None:
    """Records the error that ends a group and that a restart would not fix."""
    durable.replace_file(folder / "error.json", durable.json_bytes({"kind": type(error).__name__, "line": str(error)}))


def recorded_error(folder: Path) -> LongtakeError | None:
    """The recorded error of the group, or None."""
    record = durable.read_json(folder / "error.json")
    return getattr(errors, record["kind"], LongtakeError)(record["line"]) if record else None


def backend_for(device_type: str) -> str:
    """The backends of a process group whose members compute on this type of device, `cuda` or `cpu`.

    With both backends, NCCL exchanges GPU tensors; gloo exchanges tensors in host memory and handles barriers.
    """
    return "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"


def member_device() -> "torch.device":
    """The device of a member: the GPU that LOCAL_RANK names, or the CPU if the process sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def single_rank() -> RankContext:
    """The context of a process group with one member. The group stays for the life of the process, since DeepSpeed
    caches it in globals and would not notice a second group."""
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
    """Runs a group of one member in this process."""
    work(single_rank())
