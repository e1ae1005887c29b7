"""One line on stderr while libraries are being loaded, which takes most of a minute on a busy machine.

A thread looks at what the main thread does. It prints only if an import is in progress AFTER_SECONDS after the start
or later, at most once, so that quick commands print nothing more.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

AFTER_SECONDS = 1.2
EVERY_SECONDS = 0.3
UNTIL_SECONDS = 120.0
LINE = "longtake: loading libraries; this takes a while on a busy machine"
IMPORTING = "_find_and_load"
"""The function of importlib that runs as long as a module is being imported."""


def announce_slow_imports() -> None:
    """Start the thread. It ends with the process, after its line, or when no import can be waited for any more."""
    thread = threading.current_thread()
    threading.Thread(target=watch, args=(thread.ident,), daemon=True, name="loading").start()


def watch(thread: int, after: float = AFTER_SECONDS) -> None:
    """Print LINE if the thread imports a module later than `after` seconds from now."""
    end = time.monotonic() + UNTIL_SECONDS
    time.sleep(after)
    while time.monotonic() < end:
        if is_importing(sys._current_frames().get(thread)):
            print(LINE, file=sys.stderr, flush=True)
            return
        time.sleep(EVERY_SECONDS)


def is_importing(frame: FrameType | None) -> bool:
    """Whether the frame, or one that called it, is an import."""
    while frame is not None:
        if frame.f_code.co_name == IMPORTING and "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
