"""How a bench cares for the machine: processes that end with it, and refusals before it starts."""

import ctypes
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from longtake.platform.errors import ConfigError, StorageError

T = TypeVar("T")
PR_SET_PDEATHSIG = 1
MARGIN = 1.3  # activations, the interpreter, what else runs


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call it in a process of its own, which takes its memory with it and ends when this one does, however it ends."""
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent)
    try:
        result = pool.submit(function, *arguments).result()
    except BaseException:
        for process in list(pool._processes.values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return result


def end_with_parent() -> None:
    """Ctrl-C is the parent's affair; a parent that is killed takes the child along (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check_out(out: Path | None) -> None:
    """StorageError if a file cannot be written there."""
    if out is None:
        return
    new = not out.exists()
    try:
        out.open("a").close()
    except OSError as error:
        raise StorageError(f"--out {out}: cannot be written ({error.strerror}); name another file") from error
    if new:
        out.unlink()


def check_memory(needed: float, what: str) -> None:
    """ConfigError if the machine has less free memory than so many bytes."""
    import psutil

    free = psutil.virtual_memory().available
    if MARGIN * needed > free:
        told = f"{what} take {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        raise ConfigError(f"--shrink: {told}; divide the sizes with --shrink N, or use a GPU with --device cuda")
