"""The loop of every job with a fleet: submit, poll and record until all work is done or a signal stops the job.

After a signal the loop waits up to `drain_seconds` for running items; a second signal ends the wait. The job interprets
outcomes and decides whether work is left (`attempts.py`). The final errors, which jobs share, are here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from longtake.platform.errors import ConfigError, Interrupted, SetupError, StorageError, WeightsError
from longtake.platform.workers.fleet import DRAIN_SECONDS, Fleet, Item, Outcome, Running
from longtake.platform.workers.signals import StopFlag

POLL_SECONDS = 0.25
FINAL_ERRORS = (StorageError, WeightsError, ConfigError, SetupError)
"""Errors that are not caused by the item; they end the run."""

Step = tuple[str, Item]
"""The name of a group and an item for it."""


class Work(Protocol):
    """The work of a job on its fleet."""

    @property
    def unfinished(self) -> int: ...

    @property
    def progress_text(self) -> str:
        """Such as '3 of 8 takes made; run again to resume'."""

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        """Record the outcome of an attempt and return the next steps. Raises errors that end the run."""


def run_until_done(
    work: Work,
    steps: list[Step],
    fleet: Fleet,
    stop: StopFlag,
    on_poll: Callable[[], None],
    say: Callable[[str], None],
    drain_seconds: float = DRAIN_SECONDS,
    record_reports: Callable[[list[Running]], list[Step]] = lambda running: [],
) -> None:
    """Run `steps` and the steps that follow from them, then close the fleet. Calls `on_poll` after every poll.

    `record_reports` records what running items have finished so far and returns the next steps.

    Raises Interrupted if a signal ended the loop before all work was done.
    """
    try:
        submit(fleet, steps)
        while work.unfinished and not stop.is_set:
            for outcome in fleet.poll(POLL_SECONDS):
                submit(fleet, work.record_outcome(outcome))
            submit(fleet, record_reports(fleet.running()))
            on_poll()
        if stop.is_set:
            say(f"{stop.signal_name}: waiting up to {drain_seconds:g} s for running items")
            drain(work, fleet, stop, on_poll, drain_seconds)
    finally:
        fleet.close()
    if work.unfinished:
        raise Interrupted(f"stopped: {work.progress_text}")


def drain(work: Work, fleet: Fleet, stop: StopFlag, on_poll: Callable[[], None], seconds: float) -> None:
    """Wait up to `seconds` for the running items; start no others."""
    fleet.clear()
    deadline = time.monotonic() + seconds
    while fleet.running() and time.monotonic() < deadline and stop.count < 2:
        for outcome in fleet.poll(POLL_SECONDS):
            work.record_outcome(outcome)
        on_poll()


def submit(fleet: Fleet, steps: list[Step]) -> None:
    for group, item in steps:
        fleet.submit(group, item)
