"""ranks.json of today comes back to the byte; files of earlier versions are read, and damaged ones are not."""

import json
from pathlib import Path

import pytest

from longtake.platform.store import durable
from longtake.platform.store.json_records import Statistic, to_json
from longtake.platform.store.ranks import DriftRow, LengthRanks, MetricRank, RankedRun, RankRow, Ranks, SuiteRanks
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell

CELL = Cell("pocket", "rag", 30)


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    store = SweepStore(tmp_path, "demo")
    store.folder.mkdir()
    return store


def ranks() -> Ranks:
    row = RankRow(CELL, Statistic(1.5, (1.0, 2.0)), Statistic(1.25), {"m": MetricRank(Statistic(), Statistic(), 0, 2)})
    length = LengthRanks(30, 2, "ab", [row], {"pocket": [row]})
    drift = DriftRow("s", "pocket", "rag", 30, "m", Statistic(0.5), Statistic(), Statistic(), Statistic(), 2, 1, 2)
    return Ranks("demo", suites={"s": SuiteRanks("s", "direct", lengths=[length])}, drift=[drift])


def test_a_file_holds_plain_numbers_and_comes_back(store: SweepStore) -> None:
    store.write_ranks(ranks())
    data = json.loads((store.folder / "ranks.json").read_text())
    (row,) = data["suites"]["s"]["lengths"][0]["overall"]
    assert (row["cell"], row["backbone"], row["seconds"]) == ("pocket/rag/30s", "pocket", 30)
    assert (row["average_rank"], row["average_rank_interval"]) == (1.5, [1.0, 2.0])
    assert row["metrics"]["m"]["score_interval"] is None
    assert "precision" not in data["suites"]["s"]
    assert store.ranks() == ranks()
    assert durable.json_bytes(to_json(ranks())) == (store.folder / "ranks.json").read_bytes()


def test_fields_that_were_added_later_may_be_missing(store: SweepStore) -> None:
    data = json.loads(durable.json_bytes(to_json(ranks())))
    for key in ("settings", "weights", "intervals", "cuts"):
        del data["suites"]["s"][key]
    del data["suites"]["s"]["lengths"][0]["prompt_set"]
    for key in ("value_interval", "slope_per_min_interval", "drift_scored"):
        del data["drift"][0][key]
    (store.folder / "ranks.json").write_text(json.dumps(data | {"later": 1}))
    found = store.ranks()
    assert found is not None
    assert (found.suites["s"].settings, found.suites["s"].cuts, found.suites["s"].precision) == ({}, None, None)
    assert found.suites["s"].lengths[0].prompt_set is None
    assert found.drift[0].value == Statistic(0.5)
    assert not found.drift[0].is_incomplete, "2 of 3 takes have drift, which an earlier file does not say"
    assert ranks().drift[0].is_incomplete
    assert found.average_ranks() == {"s:pocket/rag/30s": 1.5}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"sweep": "x", "suites": []}', '{"sweep": 1}', '{"sweep": "x", "drift": 3}']
)
def test_what_is_no_record_of_ranks_is_none(store: SweepStore, text: str) -> None:
    (store.folder / "ranks.json").write_text(text)
    assert store.ranks() is None


def test_the_history_is_a_line_per_run(store: SweepStore) -> None:
    store.append_history(RankedRun("2026-01-01T00:00:00+00:00", ranks().average_ranks()))
    line = '{"at": "2026-01-01T00:00:00+00:00", "average_rank": {"s:pocket/rag/30s": 1.5}}\n'
    assert (store.folder / "history.jsonl").read_text() == line
    assert store.history() == [RankedRun("2026-01-01T00:00:00+00:00", {"s:pocket/rag/30s": 1.5})]
