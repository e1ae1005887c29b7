"""Stored JSON of another shape is never a value: a reader has the record, or it has none."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from longtake.platform.errors import LongtakeError, RecordError, StorageError
from longtake.platform.store.json_records import Statistic, from_json, to_json
from longtake.platform.store.ranks import LengthRanks, MetricRank, RankedRun, RankRow, Ranks, SuiteRanks
from longtake.platform.store.records import Progress, TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take
from tests.platform.conftest import make, make_take

OTHERS: list[Any] = [None, True, 3, -0.5, "x", [], [1], {}, {"a": 1}, [[]], float("nan"), float("inf"), 10**400]


def ranks() -> Ranks:
    row = RankRow(
        Cell("b", "m", 3), Statistic(1.0, (1.0, 2.0)), Statistic(1.0), {"x": MetricRank(Statistic(), Statistic())}
    )
    return Ranks("s", suites={"c": SuiteRanks("c", lengths=[LengthRanks(3, overall=[row], within={"b": [row]})])})


RECORDS: list[Any] = [
    TakeResult("0" * 16, "0" * 64, 9, 5, 16.0, 16, 16, {"wall": 1.0}, versions={"torch": "2"}),
    VideoScores("c", "p", "0" * 64, {"x": 1.0}, {"x.slope": None}, {"x": [1.0, None]}, {"y": "why"}, {"x": [0.0]}),
    RankedRun("2026", {"c:b/m/3s": 1.0}),
    Progress(8, 1, 1, 0, [{"takes": []}], "2026"),
    ranks(),
]


def mutations(data: Any, others: Sequence[Any] = OTHERS) -> Iterator[Any]:
    """The value with one of its places set to another value, for every place and value."""
    for path in paths_of(data):
        for other in others:
            changed = copy.deepcopy({"": data})
            holder: Any = changed
            for key in ("", *path)[:-1]:
                holder = holder[key]
            holder[("", *path)[-1]] = other
            yield changed[""]


def paths_of(data: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for key, item in items:
        for path in paths_of(item):
            yield (key, *path)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_changed_record_reads_as_one_of_right_types_or_not_at_all(record: Any) -> None:
    data = json.loads(json.dumps(to_json(record)))
    assert from_json(type(record), data) == record
    read = 0
    for changed in mutations(data):
        try:
            found = from_json(type(record), changed)
        except ValueError:
            continue
        read += 1
        again = from_json(type(record), json.loads(json.dumps(to_json(found))))
        assert repr(again) == repr(found)  # NaN, which only a field of type Any may hold, is not equal to itself
    assert read  # a number for a number, None for a missing value


def test_every_file_of_a_sweep_may_have_another_shape(store: SweepStore) -> None:
    take = make_take()
    store.write_plan("name: demo\n", [take])
    result = make(store, take)
    scores = VideoScores("classical", "", result.video_sha256, {"x": 1.0})
    files = [store.result_file(take.id), store.scores_file(take.id, "classical"), store.failures_file(take.id)]
    files += [store.ranks_file, store.history_file, store.progress_file, store.trace_file(take.id)]
    store.write_scores(take.id, scores)
    for path in files:
        kept = path.read_bytes() if path.exists() else None
        for other in [*map(json.dumps, OTHERS), "", "{", "\ud800", "[" * 100_000]:
            path.write_bytes(other.encode("utf-8", "surrogatepass") + b"\n")
            read_all(store, take)
        path.unlink() if kept is None else path.write_bytes(kept)
    assert read_all(store, take) == (True, scores)


def read_all(store: SweepStore, take: Take) -> tuple[bool, VideoScores | None]:
    (
        store.failures(),
        store.failure_rows(take.id),
        store.ranks(),
        store.history(),
        store.progress(),
        store.trace(take.id),
    )
    return store.is_done(take), store.scores(take.id, "classical")


def test_a_record_of_another_shape_fails_its_take_and_is_kept(store: SweepStore) -> None:
    take = make_take()
    make(store, take)
    store.result_file(take.id).write_text('{"take_id": 3}')
    with pytest.raises(RecordError, match=r"result\.json: is no record of a take .*, or remove the file"):
        store.open_take(take)
    assert store.video(take.id).exists()
    assert not issubclass(RecordError, StorageError)  # which would end the run


@pytest.mark.parametrize("key", ["seconds", "prompt", "method", "fingerprint", "seed", "start_frames"])
def test_a_take_of_another_shape_is_a_damaged_plan(store: SweepStore, key: str) -> None:
    store.write_plan("", [make_take()])
    row = make_take().to_json()
    for other in OTHERS:
        if type(other) is not type(row[key]) or isinstance(other, dict):
            store.plan_file.write_text(json.dumps(row | {key: other}) + "\n")
            if key == "fingerprint" and other in ({}, []):
                continue  # no fingerprint
            with pytest.raises(LongtakeError, match="line 1 is damaged"):
                store.plan()
