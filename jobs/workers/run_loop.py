"""The loop of every job that has a fleet: poll and book until nothing is unfinished, or until a signal says stop.

A signal lets what is running end, for DRAIN_SECONDS at most; a second one does not wait. Nothing is decided here: what
an outcome means, and whether work is left, the job says.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from longtake.platform.workers.fleet import Fleet, Outcome
from longtake.platform.workers.signals import StopFlag

POLL_SECONDS = 0.25
DRAIN_SECONDS = 10.0


def run_until_done(
    fleet: Fleet,
    stop: StopFlag,
    unfinished: Callable[[], int],
    record_outcome: Callable[[Outcome], None],
    between: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Mutates the fleet; `between` is called after every poll. The caller sees by `unfinished` how it ended."""
    while unfinished() and not stop.is_set:
        for outcome in fleet.poll(POLL_SECONDS):
            record_outcome(outcome)
        between()
    if not stop.is_set:
        return
    fleet.clear()
    deadline = time.monotonic() + DRAIN_SECONDS
    say(f"{stop.signal_name}: waiting up to {DRAIN_SECONDS:.0f} s for what is running")
    while fleet.running() and time.monotonic() < deadline and stop.count < 2:
        for outcome in fleet.poll(POLL_SECONDS):
            record_outcome(outcome)
        fleet.clear()  # booking may have queued a next step
        between()
