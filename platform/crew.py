"""A crew: workers that do one thing together, in step, as a distributed training does; unlike a fleet, where each item
is somebody's own.

Owns what a member is told of its place. Whoever starts a crew watches it from outside; one that loses a member is
started again as a whole and goes on from what it has saved. `cluster.py` runs crews on Ray; the one here is a crew of
one.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from longtake.platform import durable, errors
from longtake.platform.errors import LongtakeError
from longtake.platform.fleet import StopFlag

WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Seat:
    """A member's place: `rank` of `world`. Its process group is up when work begins."""

    rank: int
    world: int


class Work(Protocol):
    """What every member calls; it pickles, and its errors end the crew."""

    def __call__(self, seat: Seat) -> None: ...


@dataclass(frozen=True)
class CrewSize:
    """How many members, and what each is given."""

    workers: int
    gpus: float = 0.0
    restarts: int = 3


class Effort(threading.Thread):
    """Runs `action` beside the watching thread and keeps how it ended."""

    def __init__(self, action: Callable[[], Any]):
        super().__init__(daemon=True, name="crew")
        self.action = action
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.action()
        except BaseException as error:
            self.error = error


def watched(action: Callable[[], Any], watch: Callable[[], None], stop: StopFlag) -> None:
    """Calls `watch` while `action` runs, and once after; raises what either raises. A second signal waits no longer."""
    effort = Effort(action)
    effort.start()
    while effort.is_alive() and stop.count < 2:
        effort.join(WATCH_SECONDS)
        watch()
    if effort.error is not None:
        raise effort.error


def note_end(folder: Path, error: LongtakeError) -> None:
    """Keeps the error that ends a crew: starting again would not mend it."""
    durable.replace_file(folder / "error.json", durable.json_bytes({"kind": type(error).__name__, "line": str(error)}))


def end_of(folder: Path) -> LongtakeError | None:
    """The error that ended the crew, if one did."""
    found = durable.read_json(folder / "error.json")
    return getattr(errors, found["kind"], LongtakeError)(found["line"]) if found else None


def sit_alone() -> Seat:
    """The only seat of a process group of one. The group stays for the life of the process: DeepSpeed keeps what it has
    found of it in globals, and a second group would not be the one that it knows."""
    import torch.distributed as dist

    os.environ.setdefault("LOCAL_RANK", "0")
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    return Seat(0, 1)


def work_alone(work: Work) -> None:
    """A crew of one, right here."""
    work(sit_alone())
