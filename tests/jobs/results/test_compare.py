"""`longtake compare`: means and paired differences worked out by hand, from scores in a real store."""

import csv
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators.base import SuiteEntry, directions
from longtake.jobs.cli import execute
from longtake.jobs.results import ranks as rank
from longtake.jobs.results.compare import WHOLE, Row, Scores, cell_text, compare_cells, marks_note, read, tables
from longtake.platform.prompts import Switch
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, MethodSpec, Take
from longtake.platform.video.writing import VideoWriter
from tests.jobs.tiny import write_sweep
from tests.test_guard_layout import NOT_FOR_PLAN, run_and_list_modules

SWEEP = {"name": "small", "backbones": ["tiny"], "methods": ["native"], "lengths_s": [30], "prompts": ["a"]}
HIT = ("pocket", "revisit_hit", WHOLE)


def scores_of(values: dict[str, dict[str, list[float | None]]]) -> Scores:
    """{method: {prompt: a value per seed}} of one backbone and length."""
    scores = Scores()
    for method, by_prompt in values.items():
        for prompt, all_ in by_prompt.items():
            for seed, value in enumerate(all_):
                scores.add(Take("tiny", MethodSpec(method, method), 30, 120, prompt, seed), HIT, value)
    return scores


def row_of(scores: Scores, method: str) -> Row:
    return compare_cells(scores, HIT, 30, "native")[Cell("tiny", method, 30), HIT]


def test_difference_is_paired_over_prompts_that_both_have():
    """native: a .2, b .4 (seeds .3 and .5), c missing; rag: a .5, b .6, c .9. rag's mean is 2.0 / 3; against native it
    gains .3 at a and .2 at b, .25 on average; c has no pair."""
    scores = scores_of(
        {"native": {"a": [0.2], "b": [0.3, 0.5], "c": [None]}, "rag": {"a": [0.5], "b": [0.6], "c": [0.9]}}
    )
    row = row_of(scores, "rag")
    assert row["mean"] == pytest.approx(2.0 / 3)
    assert (row["prompts"], row["pairs"]) == (3, 2)
    assert row["difference"] == pytest.approx(0.25)
    # standard error .05, t of one degree 12.7062
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((0.25 - 0.63531, 0.25 + 0.63531), abs=1e-4)
    assert row["difference_p"] == 0.5, "2 prompts that agree: 2 x 2^-2"
    base = row_of(scores, "native")
    assert base["mean"] == pytest.approx((0.2 + 0.3 + 0.5) / 3)
    assert base["difference"] is None


def test_a_timed_prompt_is_no_seed_of_its_first_text():
    scores = scores_of({"native": {"a": [0.2]}, "rag": {"a": [0.5]}})
    for method, value in (("native", 0.4), ("rag", 0.8)):
        timed = Take("tiny", MethodSpec(method, method), 30, 120, "a", 0, switches=(Switch(20.0, "b", frame=81),))
        scores.add(timed, HIT, value)
    assert (row_of(scores, "rag")["prompts"], row_of(scores, "rag")["pairs"]) == (2, 2)


def test_what_is_common_to_a_prompt_falls_out():
    """Prompts differ by whole units, the gain is .1 at each: the difference has no spread."""
    scores = scores_of({"native": {"a": [1.0], "b": [2.0], "c": [5.0]}, "rag": {"a": [1.1], "b": [2.1], "c": [5.1]}})
    row = row_of(scores, "rag")
    assert row["high"] - row["low"] > 1
    assert row["difference_low"] == pytest.approx(row["difference_high"]) == pytest.approx(0.1)


def test_a_difference_is_marked_if_a_test_finds_it_after_holms_correction():
    """Seven prompts: rag is always ahead (p = 2 / 2^7, of two comparisons twice that), random in four of them."""
    prompts = "abcdefg"
    gains = {
        "native": [0.0] * 7,
        "rag": [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1],
        "random": [0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1],
    }
    values = {name: {p: [i + own[i]] for i, p in enumerate(prompts)} for name, own in gains.items()}
    rows = compare_cells(scores_of(values), HIT, 30, "native")
    by_method = {cell.method: row for (cell, _), row in rows.items()}
    assert by_method["rag"]["difference_p"] == 4 / 128
    assert "+0.186* [" in cell_text(by_method["rag"]).replace("\\", "")
    assert "+0.0143 [" in cell_text(by_method["random"]).replace("\\", "")
    assert marks_note([*by_method.values()]).startswith("*: p < 0.05 (exact sign-flip tests, Holm over")
    six = {name: {p: own[p] for p in "abcdef"} for name, own in values.items()}
    rows = compare_cells(scores_of(six), HIT, 30, "native")
    impossible = "no difference is marked: p < 0.05 is impossible with 6 prompts and 2 comparisons"
    assert marks_note([*rows.values()]) == impossible  # 2 * .031
    few = compare_cells(scores_of({"native": {"a": [0.2]}, "rag": {"a": [0.3]}}), HIT, 30, "native")
    assert marks_note([*few.values()]).startswith("1 prompt: no difference is marked; an exact test needs 6 prompts")


def test_a_difference_between_unequal_budgets_says_so():
    """rag attends 9.5 frames and random as many as native; nothing is known of oracle."""
    scores = scores_of({name: {"a": [0.2], "b": [0.3]} for name in ("native", "rag", "random", "oracle")})
    attended = {"native": 12, "rag": 9.5, "random": 12}
    scores.attended = {Cell("tiny", name, 30): frames for name, frames in attended.items()}
    rows = [*compare_cells(scores, HIT, 30, "native").values()]
    assert {row["method"]: (row["frames"], row["base_frames"]) for row in rows} == {
        "native": (12, 12),
        "rag": (9.5, 12),
        "random": (12, 12),
        "oracle": (None, 12),
    }
    (table,) = tables("small", rows, None)
    names = table.columns[1].cells
    assert [*names] == ["native", "oracle", "rag\n(attends 9.5 frames against 12)", "random"]


def test_cell_without_a_value_has_no_row():
    scores = scores_of({"native": {"a": [0.2]}, "rag": {"a": [None]}})
    assert list(compare_cells(scores, HIT, 30, "native")) == [(Cell("tiny", "native", 30), HIT)]


def test_every_value_of_a_cell_counts_the_same():
    """a .2 and .4, b .9 and a missing seed: (.2 + .4 + .9) / 3 = .5. The prompts deviate by (.6 - 2 * .5) / 1.5 and
    (.9 - .5) / 1.5: a standard error of .26667."""
    row = row_of(scores_of({"native": {"a": [0.2, 0.4], "b": [0.9, None]}}), "native")
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([0.5, 0.5 - 3.38832, 0.5 + 3.38832], abs=1e-4)


def scored_store(
    folder: Path, takes: list[Take], entry: SuiteEntry, attended: dict[str, float] | None = None
) -> SweepStore:
    """All takes done, each the same video of one frame, with random scores; the first has none. `attended`: frames by
    method."""
    store, rng = SweepStore(folder, "small"), np.random.default_rng(0)
    with VideoWriter(folder / "video.mp4", width=16, height=16) as video:
        video.write(np.zeros((1, 16, 16, 3), np.uint8))
    info = video.info
    assert info is not None
    with store.lock():
        store.write_plan(json.dumps(SWEEP | {"suites": [entry.label]}), takes)
        for take in takes:
            with store.open_take(take) as writer:
                shutil.copy(folder / "video.mp4", writer.video_path)
                writer.trace_path.write_bytes(b"")
                facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
                frames = (attended or {}).get(take.method.label, 0.0)
                writer.commit(TakeResult(take.id, *facts, attended_frames=frames))
            values = {name: None if take is takes[0] else float(rng.random()) for name in directions(entry)}
            versions = dict(entry.stamp)
            store.write_scores(take.id, VideoScores(entry.label, "direct", info.sha256, values, versions=versions))
    return store


def test_mean_and_interval_are_those_of_ranks_to_the_last_bit(tmp_path: Path):
    """Two seeds, a missing value, and a plan in which nothing is sorted."""
    entry, methods = SuiteEntry("pocket", "pocket"), [MethodSpec(name, name) for name in ("rag", "native", "oracle")]
    grid = itertools.product(methods, "hbgacfed", (5, 3))
    takes = [Take("tiny", method, 30, 120, prompt, seed) for method, prompt, seed in grid]
    store = scored_store(tmp_path, takes, entry)
    rank.refresh(store, takes, [entry])
    scores = read(store, takes)
    (length,) = json.loads((store.folder / "ranks.json").read_text())["suites"]["pocket"]["lengths"]
    assert sorted(row["method"] for row in length["overall"]) == ["native", "oracle", "rag"]
    for ranked in length["overall"]:
        assert list(ranked["metrics"]) == list(directions(entry))
        for name, metric in ranked["metrics"].items():
            measure = ("pocket", name, WHOLE)
            row = compare_cells(scores, measure, 30, "native")[Cell("tiny", ranked["method"], 30), measure]
            assert (row["mean"], [row["low"], row["high"]]) == (metric["score"], metric["score_interval"])


def test_comparing_loads_no_heavy_library(tmp_path: Path):
    takes = [Take("tiny", MethodSpec(name, name), 30, 120, prompt, 0) for name in ("native", "rag") for prompt in "ab"]
    store = scored_store(tmp_path, takes, SuiteEntry("weightless", "weightless"), {"native": 12.0, "rag": 21.0})
    text, loaded = run_and_list_modules("compare", str(store.folder))
    assert "difference to native" in text
    assert "(attends 21 frames against 12)" in text
    assert NOT_FOR_PLAN & loaded == set()


@pytest.mark.slow
def test_a_sweep_is_compared_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sweep = write_sweep(tmp_path)
    assert execute(["run", str(sweep), "lengths_s=[36]", "suites=[pocket]", "prefix_s=3"]) == 0
    capsys.readouterr()
    out = tmp_path / "compare.csv"
    assert execute(["compare", str(tmp_path / "runs" / "small"), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "difference to native" in told
    rows = list(csv.DictReader(out.open()))
    psnr = [row for row in rows if (row["metric"], row["part"], row["method"]) == ("revisit_psnr", "whole", "rag")]
    base = [row for row in rows if (row["metric"], row["part"], row["method"]) == ("revisit_psnr", "whole", "native")]
    assert float(psnr[0]["difference"]) == pytest.approx(float(psnr[0]["mean"]) - float(base[0]["mean"]), abs=1e-4)
    assert {row["part"] for row in rows} == {"whole", "30s"}
    assert execute(["compare", str(tmp_path / "runs" / "small"), "--metric", "revisit_hit", "--base", "rag"]) == 0
    assert "revisit_hit" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--base", "rga"], "--base: .* has no method 'rga'; did you mean 'rag'"),
        (["--metric", "hit"], "--metric: no take has scores of 'hit'"),
    ],
)
def test_names_that_are_not_there_are_one_line(tmp_path, capsys, words, told):
    sweep = write_sweep(tmp_path)
    assert execute(["run", str(sweep), "lengths_s=[3]"]) == 0
    capsys.readouterr()
    assert execute(["compare", str(tmp_path / "runs" / "small"), *words]) == 2
    err = capsys.readouterr().err
    assert "\n" not in err.strip()
    assert re.search(told, err)


def test_folder_without_a_sweep_is_one_line(tmp_path, capsys):
    assert execute(["compare", str(tmp_path)]) == 2
    assert "is not the folder of a sweep" in capsys.readouterr().err
