"""SIGINT and SIGTERM set a flag, which the loops of jobs read; nothing else happens in a signal handler."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Set by SIGINT or SIGTERM; nothing else happens in the handler. `count` tells a second signal from the first."""

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
        """Take over SIGINT and SIGTERM. Outside the main thread, which alone gets signals, nothing happens."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                signal.signal(number, self.set)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """What is done to the handlers of SIGINT and SIGTERM inside is undone at the end."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
