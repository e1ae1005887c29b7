"""`longtake compare`: means and paired differences worked out by hand, from scores in a real store."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from longtake.jobs.cli import execute
from longtake.jobs.results.compare import SEED, Scores, compared
from longtake.platform.spread import RESAMPLES, draws, spread
from longtake.platform.takes import Cell, MethodSpec, Take
from tests.jobs.tiny import write_sweep

HIT = ("pocket", "revisit_hit", "whole")


def scores_of(values: dict[str, dict[str, list[float | None]]]) -> Scores:
    """{method: {prompt: a value per seed}} of one backbone and length."""
    scores = Scores(list(dict.fromkeys(prompt for found in values.values() for prompt in found)))
    for method, by_prompt in values.items():
        for prompt, all_ in by_prompt.items():
            for seed, value in enumerate(all_):
                scores.add(Take("tiny", MethodSpec(method, method), 30, 120, prompt, seed), HIT, value)
    return scores


def test_difference_is_paired_over_prompts_that_both_have():
    """native: a .2, b .4 (seeds .3 and .5), c missing; rag: a .5, b .6, c .9. rag's mean is 2.0 / 3; against native it
    gains .3 at a and .2 at b, .25 on average; c has no pair."""
    scores = scores_of(
        {"native": {"a": [0.2], "b": [0.3, 0.5], "c": [None]}, "rag": {"a": [0.5], "b": [0.6], "c": [0.9]}}
    )
    (row,) = compared(scores, Cell("tiny", "rag", 30), HIT, "native")
    assert row["mean"] == pytest.approx(2.0 / 3)
    assert (row["prompts"], row["pairs"]) == (3, 2)
    assert row["difference"] == pytest.approx(0.25)
    assert (row["difference_low"], row["difference_high"]) == (pytest.approx(0.2), pytest.approx(0.3))
    (base,) = compared(scores, Cell("tiny", "native", 30), HIT, "native")
    assert base["mean"] == pytest.approx(0.3)
    assert base["difference"] is None


def test_what_is_common_to_a_prompt_falls_out():
    """Prompts differ by whole units, the gain is .1 at each: the difference has no spread."""
    scores = scores_of({"native": {"a": [1.0], "b": [2.0], "c": [5.0]}, "rag": {"a": [1.1], "b": [2.1], "c": [5.1]}})
    (row,) = compared(scores, Cell("tiny", "rag", 30), HIT, "native")
    assert row["high"] - row["low"] > 1
    assert row["difference_low"] == pytest.approx(row["difference_high"]) == pytest.approx(0.1)


def test_interval_is_that_of_resampled_means():
    values = np.array([0.1, 0.5, 0.2, 0.9])
    drawn = np.random.default_rng(SEED).integers(0, 4, size=(RESAMPLES, 4))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    found = spread(values, draws(4, SEED))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_cell_without_a_value_has_no_row():
    scores = scores_of({"native": {"a": [0.2]}, "rag": {"a": [None]}})
    assert compared(scores, Cell("tiny", "rag", 30), HIT, "native") == []


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--base", "rga"], "--base: .* has no method 'rga'; did you mean 'rag'"),
        (["--metric", "hit"], "--metric: no take has a score 'hit'"),
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
    assert "holds no sweep" in capsys.readouterr().err
