"""Reports count for the item that a worker is running; those of the item before say nothing about it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from longtake.platform.workers import ray_worker
from longtake.platform.workers.fleet import Group, Item, Patience, Report
from longtake.platform.workers.ray_worker import Shell, Slot


class Caller:
    """Runs the test's own steps as its item."""

    def run(self, payload: Callable[[Report], None], report: Report) -> None:
        payload(report)


def slot_of(patience: Patience) -> Slot:
    """The slot of an actor that does not begin what it is handed; the test does, by `Shell.run`."""
    actor: Any = SimpleNamespace(run=SimpleNamespace(remote=lambda payload: object()))
    return Slot(Group("samplers", Caller, 1, patience=patience), "samplers-1", actor, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(ray_worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize("step_seconds", [60.0, None])
def test_reports_of_the_item_before_leave_the_next_its_time_to_load(
    clock: list[float], step_seconds: float | None
) -> None:
    shell, slot = Shell(Caller), slot_of(Patience(start_seconds=1800.0, step_seconds=step_seconds))

    def two_blocks(report: Report) -> None:
        for done, seconds in enumerate([700.0, 10.0]):  # the first includes loading
            clock[0] += seconds
            slot.heard(shell.peek())
            report({"done": done})
            slot.heard(shell.peek())
            slot.heard(shell.peek())  # the same report again

    for _ in range(2):
        slot.hand(Item(two_blocks))
        slot.heard(shell.peek())  # the actor has not begun: its last report is that of the item before
        assert slot.now is not None
        assert (slot.now.report, slot.seen_reports, slot.allowed_silence) == ({}, 0, 1800.0)
        shell.run(two_blocks)
        assert (slot.now.report, slot.longest_step) == ({"done": 1}, 10.0)
        assert slot.allowed_silence == (step_seconds or Patience.LEAST_SECONDS)
