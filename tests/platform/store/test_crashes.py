"""A kill, EIO or ENOSPC at every file step of a commit: nothing is torn, and a re-run finishes the take."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longtake.platform.errors import StorageError
from longtake.platform.store.sweep import SweepStore
from tests.platform.conftest import fill, make, make_take

STEPS = ("fsync", "link", "unlink", "replace")
MAX_STEPS = 60


@contextmanager
def at_each_step(act: Callable[[int], None]) -> Iterator[None]:
    """Calls `act(n)` before the n-th durable file step of this process."""
    real = {name: getattr(os, name) for name in STEPS}
    count = 0

    def wrap(name: str) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            act(count)
            return real[name](*args, **kwargs)

        return step

    for name in STEPS:
        setattr(os, name, wrap(name))
    try:
        yield
    finally:
        for name in STEPS:
            setattr(os, name, real[name])


def check_nothing_torn(store: SweepStore) -> None:
    """The crash left no record, or one that matches to the last byte; a re-run finishes the take."""
    take = make_take()
    if store.is_done(take):
        assert store.verify(take)
    with store.lock():
        store.sweep_leftovers()
        if not store.is_done(take):
            make(store, take)
        assert store.verify(take)
        assert store.sweep_leftovers() == 0
    names = sorted(path.name for path in store.video(take.id).parent.iterdir())
    assert names == ["result.json", "trace.jsonl", "video.mp4"]


def kill_at(store: SweepStore, step: int) -> bool:
    """Commits in a child process that dies before its `step`-th file step; False when there are fewer steps."""

    def die(number: int) -> None:
        if number == step:
            os._exit(9)

    take = make_take()
    with store.lock():
        writer = store.open_take(take)
        result = fill(writer, take)
        child = os.fork()
        if child == 0:
            with at_each_step(die):
                writer.commit(result)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_at_every_step_leaves_no_torn_file(tmp_path: Path) -> None:
    for step in range(1, MAX_STEPS):
        store = SweepStore(tmp_path, f"kill-{step}")
        killed = kill_at(store, step)
        check_nothing_torn(store)
        if not killed:
            break
    assert 8 < step < MAX_STEPS - 1


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_disk_at_every_step_is_one_line_and_leaves_no_torn_file(tmp_path: Path, code: int) -> None:
    take, failed = make_take(), 0
    for step in range(1, MAX_STEPS):
        store = SweepStore(tmp_path, f"fail-{code}-{step}")
        with store.lock():
            writer = store.open_take(take)
            result = fill(writer, take)
            reached = fails_at(step, code, lambda w=writer, r=result: w.commit(r))  # type: ignore[misc]
        check_nothing_torn(store)
        failed += reached
        if not reached:
            break
    assert failed > 8


def fails_at(step: int, code: int, commit: Callable[[], object]) -> bool:
    """Runs `commit` with one failing file step; whether that step was reached."""
    reached = False

    def fail(number: int) -> None:
        nonlocal reached
        if number == step:
            reached = True
            raise OSError(code, os.strerror(code))

    message = ""
    with at_each_step(fail):
        try:
            commit()
        except StorageError as error:
            message = str(error)
    assert "\n" not in message
    assert not message or os.strerror(code) in message
    return reached


def test_a_full_disk_while_planning_keeps_the_old_plan(store: SweepStore) -> None:
    store.write_plan("a: 1\n", [make_take(0)])
    for step in range(1, 5):
        fails_at(step, errno.ENOSPC, lambda: store.write_plan("a: 2\n", [make_take(0), make_take(1)]))
        assert len(store.plan()) in (1, 2)
        assert store.config_yaml() in ("a: 1\n", "a: 2\n")
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".tmp-")] == []
