"""`longtake` with the tests' backbones in a process of its own, for tests that kill or stop it.

The processes are forked from one that has loaded the libraries, once per session: a start takes 0.1 s instead of 3.
"""

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["tests.jobs.tiny", "longtake.jobs.cli", "longtake.jobs.sweep.run", "longtake.jobs.corpus.make", "pandas", "cv2"]
)


def _run(words: list[str], out: Path, err: Path) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    import tests.jobs.tiny  # noqa: F401  registers the backbones
    from longtake.jobs.cli import execute

    sys.exit(execute(words))


class Longtake:
    """A started command, with the methods of `subprocess.Popen`; it prints into two files in `folder`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.files = folder / "stdout.txt", folder / "stderr.txt"
        self.process = FORKS.Process(target=_run, args=(list(words), *self.files))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Does nothing when the process has ended."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """What it has printed, after its end."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still at work after {timeout} s"
        out, err = (path.read_text() if path.exists() else "" for path in self.files)
        return out, err

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode
