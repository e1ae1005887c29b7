"""A flag that SIGINT and SIGTERM set and that the loops of jobs read. Signal handlers do nothing else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Set by SIGINT or SIGTERM. `count`: the number of signals so far."""

    def __init__(self) -> None:
        self.count = 0
        self.signal_name = ""

    @property
    def is_set(self) -> bool:
        return self.count > 0

    def set(self, number: int, _frame: object = None) -> None:
        self.count += 1
        self.signal_name = signal.Signals(number).name

    def install(self) -> None:
        """Installs the handlers of SIGINT and SIGTERM. Does nothing outside the main thread, which gets the signals."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                signal.signal(number, self.set)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """Restores the handlers of SIGINT and SIGTERM at the end of the block."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
