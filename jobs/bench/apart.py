"""Runs benchmark steps in processes that end with the bench, and checks files and memory before it starts."""

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
MARGIN = 1.3  # for activations, the interpreter and other processes


def in_new_process(function: Callable[..., T], *arguments: Any) -> T:
    """Calls the function in a new process, which frees all its memory, and which ends when this process ends."""
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
    """Ignores Ctrl-C, which the parent handles; on Linux, the kernel kills this process when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check_out(out: Path | None) -> None:
    """Raises StorageError if the file cannot be written."""
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
    """Raises ConfigError if the machine has less than `needed` bytes of free memory, with a margin."""
    import psutil

    free = psutil.virtual_memory().available
    if MARGIN * needed > free:
        sizes = f"{what} need {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free"
        raise ConfigError(f"--shrink: {sizes}; divide the sizes with --shrink N, or use a GPU with --device cuda")
