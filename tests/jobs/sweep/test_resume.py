"""The driver killed at any moment, or told to stop: each take is made once, and the ranks are the undisturbed ones."""

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from longtake.jobs.cli import execute
from longtake.platform.store.sweep import SweepStore
from tests.jobs import tiny
from tests.jobs.launch import Longtake

SEED = 20260
MORE = ["seeds=[0, 1]", "lengths_s=[3, 6]"]


def start(sweep: Path) -> Longtake:
    return Longtake(sweep.parent, "run", str(sweep), *MORE)


def wait_for(store: SweepStore, count: int, process: Longtake) -> None:
    """Until so many takes are done, or the process has ended."""
    while process.poll() is None and len(store.done_ids()) < count:
        time.sleep(0.02)


def facts(store: SweepStore) -> tuple[dict[str, str], bytes]:
    results = [store.result(take.id) for take in store.plan()]
    return {r.take_id: r.video_sha256 for r in results if r}, (store.folder / "ranks.json").read_bytes()


@pytest.mark.slow
def test_a_killed_driver_resumes_to_the_undisturbed_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    assert execute(["run", str(tiny.write_sweep(tmp_path / "calm")), *MORE]) == 0
    sweep, store = tiny.write_sweep(tmp_path / "killed"), SweepStore(tmp_path / "killed" / "runs", "small")
    chance = random.Random(SEED)
    made: dict[str, int] = {}
    for count in (2, 6, 11):
        process = start(sweep)
        wait_for(store, count, process)
        time.sleep(chance.random() * 0.2)
        process.kill()
        process.communicate()
        for take_id in store.done_ids():
            made.setdefault(take_id, (store.video(take_id)).stat().st_mtime_ns)
    last = start(sweep)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, (SEED, out, err)
    assert facts(store) == facts(SweepStore(tmp_path / "calm" / "runs", "small")), SEED
    assert all(store.video(take_id).stat().st_mtime_ns == at for take_id, at in made.items()), SEED
    assert not list(store.folder.rglob(".tmp-*"))
    assert store.failures() == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_75_and_the_run_resumes(tmp_path: Path, number: signal.Signals) -> None:
    sweep, store = tiny.write_sweep(tmp_path), SweepStore(tmp_path / "runs", "small")
    process = start(sweep)
    wait_for(store, 2, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "run again to resume" in err
    assert "Traceback" not in err
    assert 2 <= len(store.done_ids()) < 16
    assert not list(store.folder.rglob(".tmp-*"))
    assert execute(["run", str(sweep), *MORE]) == 0
    assert len(store.done_ids()) == 16


def kill_a_worker(killed: list[int]) -> None:
    """Kills the first of this process' workers that starts an item; those of an earlier test may still be ending."""
    earlier = at_work()
    while not killed:
        for process in at_work() - earlier:
            with suppress(psutil.Error):
                process.kill()
                killed.append(process.pid)
                return
        time.sleep(0.01)


def at_work() -> set[psutil.Process]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "Shell.run" in " ".join(process.cmdline()):
                found.add(process)
    return found


@pytest.mark.usefixtures("ray_local")
def test_a_killed_sampler_is_replaced_and_its_take_made_again(tmp_path: Path) -> None:
    store = SweepStore(tmp_path / "runs", "small")
    killed: list[int] = []
    threading.Thread(target=kill_a_worker, args=[killed], daemon=True).start()
    words = [
        "run",
        str(tiny.write_sweep(tmp_path)),
        "lengths_s=[45]",
        "methods=[native]",
        "workers={samplers: 1, evaluators: 1, batch: 1, cluster: local}",
    ]
    assert execute(words) == 0
    assert killed
    assert len(store.done_ids()) == 2
    assert len(store.failures()) == 1
    (failure,) = next(iter(store.failures().values()))
    assert "died" in failure.reason
    assert failure.died
    assert "worker process has died" in failure.reason  # Ray's account, to its end
    assert not failure.set_aside


@pytest.mark.usefixtures("ray_local")
@pytest.mark.parametrize(("seconds", "done"), [(0, 0), (120, 1)])
def test_the_take_at_work_may_end_within_the_time_to_drain(tmp_path: Path, seconds: int, done: int) -> None:
    """A stop as soon as the sampler has finished a block; the second take never starts."""
    store = SweepStore(tmp_path / "runs", "small")

    def stop_at_a_block() -> None:
        while not any(one["report"].get("done") for one in (store.progress() or {}).get("running", [])):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_at_a_block, daemon=True)
    thread.start()
    workers = f"workers={{samplers: 1, evaluators: 1, batch: 1, cluster: local, drain_seconds: {seconds}}}"
    assert execute(["run", str(tiny.write_sweep(tmp_path)), "lengths_s=[240]", "methods=[native]", workers]) == 75
    thread.join()
    assert len(store.done_ids()) == done


@pytest.mark.usefixtures("ray_local")
def test_a_batch_that_a_kill_broke_is_made_together_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store, sweep = SweepStore(tmp_path / "runs", "small"), str(tiny.write_sweep(tmp_path))
    killed: list[int] = []
    threading.Thread(target=kill_a_worker, args=[killed], daemon=True).start()
    workers = "workers={samplers: 1, evaluators: 1, batch: 2, cluster: local}"
    assert execute(["run", sweep, "lengths_s=[120]", "methods=[native]", workers]) == 0
    assert killed
    assert "retrying 2 takes together after WorkerDied" in capfd.readouterr().out
    assert store.failures() == {}
    assert [store.attempts(take.id) for take in store.plan()] == [2, 2]
    for take in store.plan():
        assert "the worker died with 2 takes" in (store.failures_file(take.id).parent / "events.jsonl").read_text()


@pytest.mark.usefixtures("ray_local")
def test_a_take_that_kills_every_worker_is_set_aside_and_the_others_of_its_batch_are_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two deaths together, then each take alone: three more set the killer aside, until --retry-failed."""
    store, sweep = SweepStore(tmp_path / "runs", "small"), str(tiny.write_sweep(tmp_path))
    workers = "workers={samplers: 1, evaluators: 1, batch: 2, cluster: local}"
    words = ["run", sweep, "backbones=[tiny-killer]", "methods=[native]", "lengths_s=[3]", workers]
    assert execute(words) == 3
    killer, sound = sorted(store.plan(), key=lambda take: "brick" not in take.prompt)
    assert store.done_ids() == {sound.id}
    assert (store.attempts(killer.id), store.attempts(sound.id)) == (5, 3)
    assert [one.set_aside for one in store.failures()[killer.id]] == [False, False, True]
    assert "set aside after 3 dead workers; the last: WorkerDied" in capfd.readouterr().out
    assert execute(words) == 3
    assert store.attempts(killer.id) == 5
