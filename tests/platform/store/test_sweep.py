"""The store: done or not, resume, refusal of changed plans, scores, and locks."""

import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from longtake.platform.errors import ConfigError, LockedError, StorageError
from longtake.platform.prompts import Switch
from longtake.platform.store import durable
from longtake.platform.store.plans import to_lines, to_row
from longtake.platform.store.ranks import Coverage, Ranks
from longtake.platform.store.records import Failure, VideoScores
from longtake.platform.store.sweep import SweepStore, sweep_names
from longtake.platform.takes import MethodSpec, Take
from tests.platform.conftest import fill, make, make_take


def test_a_committed_take_is_done_and_reads_back(store: SweepStore) -> None:
    take = make_take()
    assert not store.is_done(take)
    result = make(store, take)
    assert store.is_done(take)
    assert store.verify(take)
    assert store.done_ids() == {take.id}
    assert store.result(take.id) == result
    assert store.trace(take.id) == [{"block": 0}]
    assert sorted(path.name for path in store.video(take.id).parent.iterdir()) == [
        "result.json",
        "trace.jsonl",
        "video.mp4",
    ]


def test_leaving_without_a_commit_leaves_nothing(store: SweepStore) -> None:
    take = make_take()
    with store.open_take(take) as writer:
        fill(writer, take)
    assert list(store.video(take.id).parent.iterdir()) == []
    assert not store.is_done(take)


def test_a_second_writer_with_the_same_bytes_changes_nothing(store: SweepStore) -> None:
    take = make_take()
    late = store.open_take(take)
    late_result = fill(late, take)
    first = make(store, take)
    stamp = store.video(take.id).stat()
    assert late.commit(late_result) == first
    assert store.video(take.id).stat().st_ino == stamp.st_ino
    assert not (store.video(take.id).parent / "events.jsonl").exists()


def test_a_second_writer_with_other_bytes_keeps_the_first_and_says_so(store: SweepStore) -> None:
    take = make_take()
    late = store.open_take(take)
    late_result = fill(late, take, shade=99)
    first = make(store, take)
    assert late.commit(late_result) == first
    assert store.verify(take)
    events = (store.video(take.id).parent / "events.jsonl").read_text()
    assert late_result.video_sha256 in events
    assert first.video_sha256 in events


def test_a_flipped_byte_is_found_and_the_take_made_again(store: SweepStore) -> None:
    take = make_take()
    make(store, take)
    path = store.video(take.id)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert store.is_done(take)  # the size still matches: only verify reads the bytes
    assert not store.verify(take)
    store.discard(take, "the checksum did not match")
    assert not store.is_done(take)
    make(store, take)
    assert store.verify(take)


@pytest.mark.parametrize("damage", ["short video", "no video", "torn result", "result of another take"])
def test_a_record_that_does_not_match_is_not_done_and_is_made_again(store: SweepStore, damage: str) -> None:
    take = make_take()
    make(store, take)
    video = store.video(take.id)
    record = video.parent / "result.json"
    if damage == "short video":
        video.write_bytes(video.read_bytes()[:-1])
    elif damage == "no video":
        video.unlink()
    elif damage == "torn result":
        record.write_bytes(record.read_bytes()[:40])
    else:
        record.write_text(record.read_text().replace(take.id, "0" * 16))
    assert not store.is_done(take)
    assert store.done_ids() == set()
    make(store, take)
    assert store.verify(take)


def test_what_was_written_must_be_what_the_result_says(store: SweepStore) -> None:
    take, other = make_take(0), make_take(1)
    with store.open_take(take) as writer:
        result = fill(writer, take)
        data = bytearray(writer.video_path.read_bytes())
        data[-5] ^= 1
        writer.video_path.write_bytes(data)
        with pytest.raises(StorageError, match=r"sha256 .* nothing was committed"):
            writer.commit(result)
    with store.open_take(take) as writer, pytest.raises(StorageError, match="about take"):
        writer.commit(fill(writer, other))
    with store.open_take(take) as writer:
        result = fill(writer, take)
        writer.trace_path.write_text("")
        with pytest.raises(StorageError, match="0 rows, but the result says 1"):
            writer.commit(result)
    assert not store.is_done(take)


def test_attempts_and_failures_outlive_the_process(store: SweepStore) -> None:
    take = make_take()
    assert [store.begin_attempt(take), store.begin_attempt(take)] == [1, 2]
    store.record_failure(take, Failure("making", "out of memory\nat block 3"))
    again = SweepStore(store.folder.parent, "demo")
    assert again.attempts(take.id) == 2
    assert again.failures() == {take.id: [Failure("making", "out of memory\nat block 3")]}
    assert again.attempts(make_take(1).id) == 0


def test_a_torn_last_line_costs_only_itself(store: SweepStore) -> None:
    take = make_take()
    store.record_failure(take, Failure("making", "first"))
    path = store.video(take.id).parent / "failures.jsonl"
    path.write_text(path.read_text() + '{"at": "2')
    store.record_failure(take, Failure("scoring", "second"))
    assert store.failures() == {take.id: [Failure("making", "first"), Failure("scoring", "second")]}


def test_no_failure_stores_the_password_of_an_address(store: SweepStore) -> None:
    take = make_take()
    store.record_failure(take, Failure("making", "OSError: cannot reach http://me:hunter2@host/x?token=hunter2 now"))
    assert "hunter2" not in store.failures_file(take.id).read_text()
    assert store.failures()[take.id][0].reason == "OSError: cannot reach http://***@host/x?token=*** now"


def test_a_plan_reads_back_and_may_grow(store: SweepStore) -> None:
    takes = [make_take(seed, prompt="dusk, brick; pan right 6 s \u2028 é") for seed in range(3)]
    store.write_plan("name: demo\n", takes[:2])
    assert store.plan() == takes[:2]
    store.write_plan("name: demo\nseeds: [0, 1, 2]\n", takes)
    assert store.plan() == takes
    assert store.config_yaml() == "name: demo\nseeds: [0, 1, 2]\n"
    assert sweep_names(store.folder.parent) == ["demo"]


def test_a_plan_that_loses_or_changes_takes_is_refused_and_named(store: SweepStore) -> None:
    store.write_plan("", [make_take(0), make_take(1)])
    with pytest.raises(ConfigError, match=r"2 of 2 takes .* rag\.top_k 6 -> 4; give the sweep another name"):
        store.write_plan("", [make_take(0, top_k=4), make_take(1, top_k=4)])
    with pytest.raises(ConfigError, match=r"1 of 2 takes .* pocket/rag/1s seed 1 'dusk': is no longer planned"):
        store.write_plan("", [make_take(0)])
    assert len(store.plan()) == 2


def test_one_video_under_two_labels_is_refused(store: SweepStore) -> None:
    with pytest.raises(ConfigError, match=r"pocket/rag/1s .* and pocket/twin/1s .* are the same video"):
        store.write_plan("", [make_take(0), make_take(0, label="twin")])


def test_a_damaged_plan_is_named(store: SweepStore) -> None:
    store.write_plan("", [make_take(0)])
    (store.folder / "plan.jsonl").write_text("{}\n")
    with pytest.raises(StorageError, match=r"plan\.jsonl: line 1 is damaged"):
        store.plan()


def test_scores_count_only_for_the_video_that_is_there(store: SweepStore) -> None:
    take = make_take()
    result = make(store, take)
    scores = VideoScores("classical", "vbench-long", result.video_sha256, {"palette": 0.5, "noise": float("nan")})
    store.write_scores(take.id, scores)
    assert store.scores(take.id, "classical") == scores
    assert scores.metrics["noise"] is None
    assert scores.errors == {"noise": "not a number: nan"}
    store.write_scores(take.id, VideoScores("classical", "vbench-long", "0" * 64))
    assert store.scores(take.id, "classical") is None
    assert store.scores(take.id, "pocket") is None


def test_table_ranks_and_progress_read_back(store: SweepStore) -> None:
    with store.lock():
        assert (store.table(), store.ranks(), store.progress()) == (None, None, None)
        ranks = Ranks("demo", {"weightless": Coverage(4, 3)})
        table = pandas.DataFrame({"metric": ["palette"], "value": [float("nan")]})
        store.write_table(table)
        store.write_ranks(ranks)
        store.write_progress({"done": 3})
    pandas.testing.assert_frame_equal(store.table(), table)
    assert (store.ranks(), store.progress()) == (ranks, {"done": 3})


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "A", "a" * 65, "a\n", "é"])
def test_names_that_are_no_folder_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        SweepStore(tmp_path, name)


@pytest.mark.parametrize("take_id", ["", "..", "../../etc/passwd0", "0" * 15, "0" * 15 + "\n", "G" * 16])
def test_ids_never_lead_out_of_the_store(store: SweepStore, take_id: str) -> None:
    for read in (store.video, store.result, store.trace, store.attempts, lambda i: store.scores(i, "classical")):
        with pytest.raises(ConfigError, match="is not a take id"):
            read(take_id)
    with pytest.raises(ConfigError, match="is not a name"):
        store.scores("0" * 16, "../result")


def test_reading_makes_no_folder(store: SweepStore) -> None:
    take = make_take()
    assert (store.plan(), store.done_ids(), store.failures(), store.ranks()) == ([], set(), {}, None)
    assert not store.is_done(take)
    assert not store.folder.parent.exists()


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file is in the way")
    store = SweepStore(tmp_path / "runs", "demo")
    with pytest.raises(StorageError, match="choose another output folder") as caught, store.lock():
        pass
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError):
        store.begin_attempt(make_take())


def test_the_second_holder_is_refused_at_once_and_told_who(store: SweepStore) -> None:
    with store.lock():
        started = time.monotonic()
        with (
            pytest.raises(LockedError, match=r"in use by process \d+ on .* since 2"),
            SweepStore(store.folder.parent, "demo").lock(),
        ):
            pass
        assert time.monotonic() - started < 2
    with store.lock():
        pass


def test_of_many_starts_at_once_exactly_one_wins(store: SweepStore) -> None:
    barrier, outcomes = threading.Barrier(6), []

    def start() -> None:
        barrier.wait()
        try:
            with SweepStore(store.folder.parent, "demo").lock():
                outcomes.append("won")
                time.sleep(0.3)
        except LockedError:
            outcomes.append("lost")

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 5 + ["won"]


def test_a_killed_holder_frees_the_lock(store: SweepStore) -> None:
    code = (
        "import sys, time; from longtake.platform.store.sweep import SweepStore\n"
        "with SweepStore(sys.argv[1], 'demo').lock(): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(store.folder.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} "), store.lock():
            pass
        holder.kill()
    with store.lock():
        assert store.epoch == 2


def test_a_worker_that_outlived_its_run_cannot_commit(store: SweepStore) -> None:
    take = make_take()
    with store.lock():
        worker = pickle.loads(pickle.dumps(store))
        writer = worker.open_take(take)
        result = fill(writer, take)
    with store.lock(), pytest.raises(StorageError, match=r"a newer run holds the sweep \(epoch 2, ours 1\)"):
        writer.commit(result)
    assert not store.is_done(take)


def test_leftovers_are_swept_only_under_the_lock(store: SweepStore) -> None:
    done, crashed = make_take(0), make_take(1)
    make(store, done)
    fill(store.open_take(crashed), crashed)
    with pytest.raises(StorageError, match="only while the sweep is locked"):
        store.sweep_leftovers()
    with store.lock():
        assert store.sweep_leftovers() == 2
    assert store.verify(done)
    assert list(store.video(crashed.id).parent.iterdir()) == []


def test_the_same_pixels_have_the_same_id() -> None:
    method = MethodSpec("rag", "rag", {"top_k": 6, "recency_guard": 5})
    take = Take("pocket", method, 30, 120, "dusk", 0, 0, (("weights", "aa"), ("codec", "bb")))
    same = Take(
        "pocket",
        MethodSpec("rag", "rag-k6", {"recency_guard": 5, "top_k": 6}),
        31,
        120,
        "dusk",
        0,
        0,
        (("codec", "bb"), ("weights", "aa")),
    )
    assert take.id == same.id
    assert take.cell != same.cell
    assert Take.from_json(take.to_json()).id == take.id
    k4 = MethodSpec("rag", "rag", {"top_k": 4, "recency_guard": 5})
    others = [
        Take("pocket-mem", method, 30, 120, "dusk", 0, 0, take.fingerprint),
        Take(
            "pocket",
            k4,
            30,
            120,
            "dusk",
            0,
            0,
            take.fingerprint,
        ),
        Take("pocket", method, 30, 123, "dusk", 0, 0, take.fingerprint),
        Take("pocket", method, 30, 120, "noon", 0, 0, take.fingerprint),
        Take("pocket", method, 30, 120, "dusk", 1, 0, take.fingerprint),
        Take("pocket", method, 30, 120, "dusk", 0, 24, take.fingerprint),
        Take("pocket", method, 30, 120, "dusk", 0, 0, (("weights", "ab"), ("codec", "bb"))),
    ]
    assert len({take.id, *(other.id for other in others)}) == 8
    # 120 latent frames: 1 + 4 x 119 = 477 video frames.
    assert take.num_frames == 477


def test_a_plan_is_a_line_of_json_per_take(tmp_path: Path) -> None:
    """The same bytes as when every take is encoded by itself, so that a plan that did not change is known as such."""
    prompts = ['dusk, "brick"', "noon \u2028 \\ é 🏠"]
    takes = [make_take(seed, "rag", 3, prompt, k=None) for prompt in prompts for seed in (0, 7)]
    weights = f"{tmp_path.absolute()}/models/e.safetensors"
    named = replace(takes[0].method, params={"descriptor": weights, "x": 1.0})
    takes.append(
        replace(takes[0], switches=(Switch(20.0, prompts[1], frame=81), Switch(20.75, prompts[0], True, frame=84)))
    )
    takes.append(replace(takes[0], method=named, fingerprint=(("method.descriptor", "aa"),), prefix_frames=1))
    rows = [to_row(take, tmp_path) for take in takes]
    assert to_lines(takes, tmp_path) == durable.json_lines(rows)
    assert rows[-1]["method"]["params"]["descriptor"] == "<output>/models/e.safetensors"
