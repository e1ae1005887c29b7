"""A flag that SIGINT, SIGTERM and SIGHUP set and that the loops of jobs read. Signal handlers do nothing else.

SIGHUP says that the terminal is gone, so its handler also drops what would be printed there: a write would fail. A
process that was started to survive it (`nohup`) ignores SIGHUP, and still does here.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopFlag:
    """Set by a stop signal. `count`: the number of signals so far."""

    def __init__(self) -> None:
        self.count = 0
        self.signal_name = ""

    @property
    def is_set(self) -> bool:
        return self.count > 0

    def set(self, number: int, _frame: object = None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        self.count += 1
        self.signal_name = signal.Signals(number).name

    def install(self) -> None:
        """Installs the handlers. Does nothing outside the main thread, which gets the signals."""
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                signal.signal(number, self.set)


def stop_signals() -> list[signal.Signals]:
    """The signals that stop a job: without SIGHUP if this process ignores it."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or not is_ignored]


def raise_on_stop() -> None:
    """Makes every stop signal raise KeyboardInterrupt, for the time before and after a job's own handlers."""
    for number in stop_signals():
        signal.signal(number, _raise)


def _raise(number: int, frame: object) -> None:
    if number == signal.SIGHUP:
        leave_terminal()
    raise KeyboardInterrupt


def leave_terminal() -> None:
    """Drops the standard output and error that go to a terminal; files and pipes stay."""
    for descriptor in (1, 2):
        try:
            is_terminal = stat.S_ISCHR(os.fstat(descriptor).st_mode)
        except OSError:
            continue
        if is_terminal:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextmanager
def hangup_kept_from_children() -> Iterator[None]:
    """Processes that start in the block get no SIGHUP, which a terminal sends to all of its processes: a job that
    drains still needs them. Here it arrives after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """Restores the handlers of the stop signals at the end of the block."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
