"""The cause of a worker's death is kept whole, with its kind first."""

from pathlib import Path

import pytest

from longtake.platform.workers.deaths import cause_of


class OutOfMemoryError(Exception):
    """Named as Ray's."""


ACCOUNT = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Shell\n\tactor_id: 12ab\n\tpid: 7\n"
    "\tnamespace: 5c\n\tip: 10.0.0.1\nThe actor is dead because "
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "out of memory: OutOfMemoryError"),
        (RuntimeError(f"{ACCOUNT}its node has died. Node Id: 3f"), "lost its node: RuntimeError: The actor died"),
        (RuntimeError(f"{ACCOUNT}its worker process has died."), "RuntimeError: The actor died"),
    ],
)
def test_the_kind_comes_first(error: Exception, kind: str) -> None:
    cause = cause_of(error, "")
    assert cause.startswith(kind)
    assert cause.endswith(str(error).splitlines()[-1])
    assert "actor_id" not in cause


def test_a_crash_in_native_code_is_told_by_the_last_output(tmp_path: Path) -> None:
    output = tmp_path / "worker.err"
    output.write_text("loading\n" * 5000 + 'Fatal Python error: Segmentation fault\n\n  File "a.py", line 3 in work\n')
    cause = cause_of(RuntimeError(f"{ACCOUNT}its worker process has died."), str(output))
    assert cause.startswith("Fatal Python error: Segmentation fault: RuntimeError: The actor died")
    assert cause.endswith('Fatal Python error: Segmentation fault | File "a.py", line 3 in work')
