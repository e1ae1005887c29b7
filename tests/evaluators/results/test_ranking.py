"""Ranks worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from longtake.evaluators.results.ranking import rank_cells
from longtake.evaluators.results.table import cell_means, table
from longtake.evaluators.results.verdict import Headline, letters
from longtake.platform.errors import ConfigError
from longtake.platform.prompts import Switch
from longtake.platform.store.json_records import Statistic, from_json, to_json
from longtake.platform.store.ranks import DriftRow, RankRow, SuiteRanks
from longtake.platform.store.records import VideoScores
from longtake.platform.takes import MethodSpec, Take

UP_DOWN = {"good": "higher", "bad": "lower"}


def one(method: str, prompt: str, good: float | None, bad: float | None, **more: Any) -> tuple[Take, VideoScores]:
    backbone, seed = more.get("backbone", "pocket"), more.get("seed", 0)
    take = Take(backbone, MethodSpec(method, method, {}), more.get("seconds", 30), 120, prompt, seed)
    values, versions = {"good": good, "bad": bad}, more.get("versions", {})
    return take, VideoScores(
        "s", more.get("protocol", "direct"), "0" * 64, values, more.get("drift", {}), versions=versions
    )


def ranked(*scored: tuple[Take, VideoScores], **options: Any) -> SuiteRanks:
    return rank_cells(table(scored), "s", UP_DOWN, **options)


def by_cell(rows: list[RankRow]) -> dict[str, RankRow]:
    return {row.cell.method: row for row in rows}


def test_a_timed_prompt_is_paired_with_itself_and_not_with_its_first_text() -> None:
    """Of two prompts with one first text, a is better at the plain one and b at the timed one."""
    rows = [one("a", "p", 0.9, 1.0), one("b", "p", 0.1, 1.0), one("a", "p", 0.2, 1.0), one("b", "p", 0.8, 1.0)]
    timed = [(replace(take, switches=(Switch(20.0, "q", frame=81),)), scores) for take, scores in rows[2:]]
    (length,) = ranked(*rows[:2], *timed).lengths
    assert length.prompts == 2
    assert {row.average_rank_per_prompt.value for row in length.overall} == {1.5}


def test_cell_ranks_by_hand() -> None:
    result = ranked(
        one("a", "p", 0.9, 5.0), one("a", "q", 0.7, 7.0),  # good .8, bad 6
        one("b", "p", 0.8, 1.0), one("b", "q", 0.8, 3.0),  # good .8, bad 2
        one("c", "p", 0.1, 9.0), one("c", "q", 0.3, 9.0),  # good .2, bad 9
    )  # fmt: skip
    (length,) = result.lengths
    rows = by_cell(length.overall)
    # good: a and b share places 1 and 2 = 1.5, c 3. bad (lower is better): b 1, a 2, c 3.
    assert rows["a"].average_rank.value == pytest.approx((1.5 + 2) / 2)
    assert rows["b"].average_rank.value == pytest.approx((1.5 + 1) / 2)
    assert rows["c"].average_rank.value == 3.0
    assert [row.cell.method for row in length.overall] == ["b", "a", "c"]
    # per prompt: p: good a 1, b 2; q: good b 1, a 2; bad b 1, a 2 in both. a: (1.5 + 2) / 2, b: (1.5 + 1) / 2
    assert rows["a"].average_rank_per_prompt.value == pytest.approx(1.75)
    assert rows["b"].average_rank_per_prompt.value == pytest.approx(1.25)
    assert rows["a"].metrics["bad"].score.value == pytest.approx(6.0)
    # two prompts with differences of either sign between a and c: nothing is certain
    assert rows["c"].average_rank.interval == (1.0, 3.0)
    data = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert from_json(SuiteRanks, data) == result
    assert data["lengths"][0]["overall"][0]["cell"] == "pocket/b/30s"
    assert data["lengths"][0]["overall"][0]["average_rank"] == 1.25


def test_rank_units_differ() -> None:
    # a wins two prompts by little and loses one by much: best per prompt, worst by mean.
    wins = [one("a", p, 0.5, 1.0) for p in "pq"] + [one("b", p, 0.4, 1.0) for p in "pq"]
    rows = by_cell(ranked(*wins, one("a", "r", 0.0, 1.0), one("b", "r", 1.0, 1.0)).lengths[0].overall)
    assert rows["a"].metrics["good"].rank.value == 2.0
    # good per prompt: a 1, 1, 2 (mean 4/3); bad is tied everywhere: 1.5
    assert rows["a"].average_rank_per_prompt.value == pytest.approx((4 / 3 + 1.5) / 2)


def test_within_a_backbone_and_overall() -> None:
    scored = [
        one("x", "p", 0.9, 1.0), one("y", "p", 0.8, 2.0),
        one("x", "p", 0.3, 8.0, backbone="pocket-mem"), one("y", "p", 0.4, 7.0, backbone="pocket-mem"),
    ]  # fmt: skip
    (length,) = ranked(*scored).lengths
    assert [(r.cell.backbone, r.cell.method, r.average_rank.value) for r in length.overall] == [
        ("pocket", "x", 1.0), ("pocket", "y", 2.0), ("pocket-mem", "y", 3.0), ("pocket-mem", "x", 4.0),
    ]  # fmt: skip
    assert [r.cell.method for r in length.within["pocket-mem"]] == ["y", "x"]
    assert by_cell(length.within["pocket-mem"])["y"].average_rank.value == 1.0


def test_missing_scores_are_left_out_and_counted() -> None:
    rows = by_cell(
        ranked(
            one("a", "p", None, None), one("a", "q", 0.5, None), one("b", "p", 0.4, 2.0), one("b", "q", 0.4, 2.0)
        ).lengths[0].overall
    )  # fmt: skip
    good, bad = rows["a"].metrics["good"], rows["a"].metrics["bad"]
    assert (good.score.value, good.scored, good.missing, good.rank.value) == (0.5, 1, 1, 1.0)  # not (0 + .5) / 2
    assert (bad.score.value, bad.rank.value, bad.scored, bad.missing) == (None, None, 0, 2)
    assert bad.score.interval is None
    assert rows["a"].average_rank.value == 1.0  # of the one metric that it has
    assert rows["b"].average_rank.value == pytest.approx((2 + 1) / 2)


def test_interval_of_a_constant_is_a_point_and_of_one_prompt_is_unknown() -> None:
    constant = [one(m, p, 0.5, 1.0) for m in "ab" for p in "pqrs"]
    row = ranked(*constant).lengths[0].overall[0]
    assert row.metrics["good"].score.interval == (0.5, 0.5)
    assert row.average_rank.interval == (1.5, 1.5)
    row = ranked(one("a", "p", 0.5, 1.0), one("b", "p", 0.5, 1.0)).lengths[0].overall[0]
    assert row.average_rank.value == 1.5
    assert row.average_rank.interval is None
    # two prompts, of which a has one: a mean, and no interval that would look like a certain one
    rows = by_cell(ranked(one("a", "p", 0.5, 1.0), one("a", "q", None, 1.0), *constant[4:6]).lengths[0].overall)
    assert rows["a"].metrics["good"].score.interval is None
    assert rows["a"].metrics["bad"].score.interval == (1.0, 1.0)


def test_intervals_are_paired_and_cover_the_mean() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 40)  # prompts differ much, methods by a constant .1
    scored = [
        one(m, f"p{i:02}", float(h + gap), 1.0) for i, h in enumerate(hard) for m, gap in (("a", 0.1), ("b", 0.0))
    ]
    rows = by_cell(ranked(*scored).lengths[0].overall)
    assert rows["a"].metrics["good"].rank.interval == (1.0, 1.0)  # unpaired draws would mix the two
    low, high = rows["a"].metrics["good"].score.interval
    error = hard.std(ddof=1) / np.sqrt(40)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert low < rows["a"].metrics["good"].score.value < high


def test_order_of_rows_and_extra_seeds() -> None:
    scored = [one(m, p, ord(m) / 7 + ord(p) / 3, 1.0, seed=s) for m in "abc" for p in "pqr" for s in (0, 1)]
    df = table(scored)
    shuffled = df.sample(frac=1.0, random_state=1)
    assert rank_cells(df, "s", UP_DOWN) == rank_cells(shuffled, "s", UP_DOWN)
    assert by_cell(rank_cells(df, "s", UP_DOWN).lengths[0].overall)["a"].metrics["good"].scored == 6
    pd.testing.assert_frame_equal(table(scored), table(scored[::-1]))


def test_lengths_are_apart_and_protocols_never_mix() -> None:
    result = ranked(one("a", "p", 1.0, 1.0), one("a", "p", 0.5, 1.0, seconds=60))
    assert [length.seconds for length in result.lengths] == [30, 60]
    with pytest.raises(ConfigError, match="direct, exact"):
        ranked(one("a", "p", 1.0, 1.0), one("b", "p", 1.0, 1.0, protocol="exact"))


def test_an_empty_table_has_no_ranks() -> None:
    assert ranked().lengths == []


def test_drift_columns_can_be_ranked() -> None:
    take = one("a", "p", 0.5, 1.0)[0]
    drifting = VideoScores("s", "direct", "0" * 64, {"good": 0.5, "bad": 1.0}, {"good.quarter_diff": -0.4})
    steady = VideoScores("s", "direct", "0" * 64, {"good": 0.5, "bad": 1.0}, {"good.quarter_diff": -0.1})
    df = table([(take, drifting), (one("b", "p", 0.5, 1.0)[0], steady)])
    rows = by_cell(rank_cells(df, "s", {"good": "higher"}, value="quarter_diff").lengths[0].overall)
    assert rows["b"].average_rank.value == 1.0


def test_table_and_cell_means() -> None:
    df = table([one("a", "p", 0.25, None), one("a", "q", 0.75, 3.0)])
    assert df["value"].isna().sum() == 1
    assert df.loc[df["value"].isna(), "error"].tolist() == ["no reason was given"]
    bad, good = cell_means(df)  # metrics by name
    assert (good.metric, good.value.value, good.scored, good.missing) == ("good", 0.5, 2, 0)
    assert (bad.metric, bad.value.value, bad.scored, bad.missing) == ("bad", 3.0, 1, 1)
    # two prompts: .5 +- 12.7062 (t of one degree) * .25 (standard error)
    assert good.value.interval == pytest.approx((0.5 - 3.17655, 0.5 + 3.17655), abs=1e-4)
    assert bad.value.interval is None, "one prompt says nothing of others"
    assert (good.slope_per_min, good.drift_scored) == (Statistic(), 0)


def drifting(method: str, prompt: str, slope: float | None, diff: float | None) -> tuple[Take, VideoScores]:
    return one(method, prompt, 0.5, 1.0, drift={"good.slope_per_min": slope, "good.quarter_diff": diff})


def test_drift_of_a_cell_has_an_interval_over_prompts() -> None:
    df = table([drifting("a", "p", -0.2, -0.1), drifting("a", "q", -0.4, -0.1), drifting("b", "p", 0.1, None)])
    rows = {(row.method, row.metric): row for row in cell_means(df)}
    a, b = rows["a", "good"], rows["b", "good"]
    assert a.slope_per_min.value == pytest.approx(-0.3)
    assert a.slope_per_min.interval == pytest.approx((-0.3 - 1.27062, -0.3 + 1.27062), abs=1e-4)
    assert a.quarter_diff.interval == pytest.approx((-0.1, -0.1))  # the same in both: a point
    assert b.slope_per_min == Statistic(0.1, None)
    assert (b.quarter_diff.value, b.drift_scored) == (None, 1)
    assert [from_json(DriftRow, one) for one in json.loads(json.dumps(to_json([a, b]), allow_nan=False))] == [a, b]


def test_drift_and_ranks_have_the_same_means_and_intervals() -> None:
    rng = np.random.default_rng(5)
    scored = [
        one(m, f"p{i}", float(v), 1.0, seed=s) for m in "ab" for i in range(7) for s, v in enumerate(rng.random(2))
    ]
    df = table(scored)
    means = {row.method: row for row in cell_means(df) if row.metric == "good"}
    for method, row in by_cell(rank_cells(df, "s", UP_DOWN).lengths[0].overall).items():
        assert means[method].value.value == pytest.approx(row.metrics["good"].score.value, abs=1e-15)
        assert means[method].value.interval == pytest.approx(row.metrics["good"].score.interval, abs=1e-15)


def test_scores_of_other_settings_or_weights_never_meet() -> None:
    plain = {"suite": "s-1", "settings": '{"long_range": false}', "weights.dino": "aa", "numpy": "1"}
    result = ranked(one("a", "p", 1.0, 1.0, versions=plain), one("b", "p", 1.0, 1.0, versions=plain | {"numpy": "2"}))
    assert (result.settings, result.weights) == ({"long_range": False}, {"dino": "aa"})
    for key, other in (("settings", '{"long_range": true}'), ("weights.dino", "bb"), ("suite", "s-2")):
        with pytest.raises(ConfigError, match=f"'s': {key} .* and .* in one table"):
            ranked(one("a", "p", 1.0, 1.0, versions=plain), one("b", "p", 1.0, 1.0, versions=plain | {key: other}))
    bare = {key: text for key, text in plain.items() if key != "weights.dino"}
    with pytest.raises(ConfigError, match=r"weights\.dino aa and none"):
        ranked(one("a", "p", 1.0, 1.0, versions=plain), one("b", "p", 1.0, 1.0, versions=bare))


def gains(method: str, gain: float, prompts: int) -> list[tuple[Take, VideoScores]]:
    """`good` is `gain` above a level of each prompt, up to .05 more or less; `bad` is the same for all."""
    return [one(method, f"p{i}", i + gain + 0.05 * (-1) ** i, 1.0) for i in range(prompts)]


def test_six_prompts_separate_two_cells_and_five_do_not() -> None:
    for prompts, groups in ((5, [None, None]), (6, ["a", "b"])):
        (length,) = ranked(*gains("a", 0.5, prompts), *gains("b", 0.0, prompts)).lengths
        assert [row.group for row in length.overall] == groups  # p = 2 / 2^6
        assert [row.group for row in length.within["pocket"]] == groups


def test_holm_makes_a_board_of_many_cells_careful() -> None:
    """Six prompts and three pairs: .031 * 3 is not below .05. Ten: 2 / 2^10 * 3 is."""
    for prompts, groups in ((6, ["a", "a", "a"]), (10, ["a", "b", "c"])):
        cells = [gains(name, gain, prompts) for name, gain in (("a", 2.0), ("b", 1.0), ("c", 0.0))]
        (length,) = ranked(*[take for cell in cells for take in cell]).lengths
        assert [row.group for row in length.overall] == groups


def test_cells_without_a_common_prompt_are_no_comparison() -> None:
    """a and b share six prompts, c none with them: one comparison, p = .031."""
    elsewhere = [one("c", f"q{i}", 1.0, 1.0) for i in range(6)]
    (length,) = ranked(*gains("a", 1.0, 6), *gains("b", 0.0, 6), *elsewhere).lengths
    letters_of = {row.cell.method: set(row.group or "") for row in length.overall}
    assert not letters_of["a"] & letters_of["b"]


def test_cells_with_a_common_letter_are_not_separable() -> None:
    apart = np.zeros((4, 4), bool)
    for one_, other in ((0, 2), (0, 3), (1, 3)):
        apart[one_, other] = apart[other, one_] = True
    assert letters(apart) == ["a", "ab", "bc", "c"]
    assert letters(np.zeros((3, 3), bool)) == ["a", "a", "a"]
    assert letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]
    assert letters(np.zeros((0, 0), bool)) == []


def verdicts(*scored: tuple[Take, VideoScores], unit: str = "dB", **options: Any) -> list[str]:
    return ranked(*scored, headline=Headline("good", unit), **options).lengths[0].verdicts


def test_a_verdict_names_the_best_two_and_how_sure_it_is() -> None:
    three = [one("rag", p, v, 1.0) for p, v in (("p", 20.0), ("q", 22.0), ("r", 25.0))]
    better = [one("random-memory", p, v, 0.5) for p, v in (("p", 26.6), ("q", 28.6), ("r", 31.9))]
    # 6.6, 6.6, 6.9: 6.7 +- 4.3027 * .1732 / sqrt(3)
    text = "pocket, 30 s: random-memory beats rag by 6.7 dB [6.3, 7.1] in 3 of 3 prompts; too few to be sure"
    assert verdicts(*three, *better) == [text]
    assert verdicts(*three[:1], *better[:1]) == [
        "pocket, 30 s: random-memory beats rag by 6.6 dB in 1 of 1 prompt; too few to be sure"
    ]
    # 6 prompts that agree: p = 2 / 2^6, of one comparison
    (sure,) = verdicts(*gains("a", 0.5, 6), *gains("b", 0.0, 6), unit="0..1")
    assert sure.startswith("pocket, 30 s: a beats b by 0.50 of good [0.50, 0.50] in 6 of 6 prompts")
    assert sure.endswith(" (p = 0.031, Holm over 1 comparison)")
    signs = [one("b", f"p{i}", i + 0.4 * (-1) ** i, 1.0) for i in range(6)]
    (unsure,) = verdicts(*gains("a", 0.1, 6), *signs)
    assert unsure.startswith("pocket, 30 s: a leads b by 0.10 dB [-")
    assert "in 3 of 6 prompts; not separable (p = " in unsure
    # three pairs: 3 * .031 is not below .05, whatever the prompts say
    (never,) = verdicts(*gains("a", 0.5, 6), *gains("b", 0.0, 6), *gains("c", -0.5, 6))
    assert never.endswith("in 6 of 6 prompts; not separable (p < 0.05 is impossible with 6 prompts and 3 comparisons)")


def test_a_verdict_without_a_headline_is_about_ranks() -> None:
    scored = [*gains("a", 0.5, 3), *gains("b", 0.0, 3)]
    # good: a 1, b 2; bad is tied, 1.5 each: average ranks 1.25 and 1.75 in every prompt
    (text,) = ranked(*scored).lengths[0].verdicts
    found = "a beats b by 0.50 ranks within prompts [0.50, 0.50] in 3 of 3 prompts"
    assert text == f"pocket, 30 s: {found}; too few to be sure"
    assert ranked(*scored[:3]).lengths[0].verdicts == [], "one cell has nothing to beat"
    equal = [*gains("a", 0.0, 6), *gains("b", 0.0, 6)]
    assert ranked(*equal).lengths[0].verdicts == ["pocket, 30 s: a and b are not separable in 6 prompts"]


def test_intervals_end_at_the_bounds_of_a_metric() -> None:
    # a: mean .95, standard error .05, so plain t of 1 degree gives .95 +- .635; b: .1 +- 1.27
    scored = [one("a", "p", 1.0, 1.0), one("a", "q", 0.9, 1.0), one("b", "p", 0.0, 1.0), one("b", "q", 0.2, 1.0)]
    options: dict[str, Any] = {"headline": Headline("good", "share")}
    free = by_cell(ranked(*scored, **options).lengths[0].overall)
    assert free["a"].metrics["good"].score.interval == pytest.approx((0.95 - 0.6353, 0.95 + 0.6353), abs=1e-4)
    (length,) = ranked(*scored, **options, bounds={"good": (0.0, 1.0)}).lengths
    rows = by_cell(length.overall)
    assert rows["a"].metrics["good"].score.interval == pytest.approx((0.3147, 1.0), abs=1e-4)
    assert rows["b"].metrics["good"].score.interval == (0.0, 1.0)
    assert rows["a"].metrics["bad"] == free["a"].metrics["bad"]
    # the differences are 1 and .7: .85 +- 1.906, which can be -1 to 1
    assert length.verdicts == [
        "pocket, 30 s: a beats b by 0.8 of good [-1.0, 1.0] in 2 of 2 prompts; too few to be sure"
    ]
    _, mean = cell_means(table(scored), {"s": {"good": (0.0, 1.0)}})[:2]  # metrics by name
    assert mean.value.interval == rows["a"].metrics["good"].score.interval


def test_bounds_of_a_value_are_not_those_of_its_drift() -> None:
    rows = cell_means(table([drifting("a", p, v, None) for p, v in (("p", -3.0), ("q", 4.0))]), {"s": {"good": (0, 1)}})
    slope = next(row.slope_per_min for row in rows if row.metric == "good")
    assert slope.interval is not None
    assert slope.interval[0] < -3


def test_backbones_have_a_verdict_each_or_one_together() -> None:
    mem = [one(m, p, v, 1.0, backbone="pocket-mem") for m, v in (("a", 0.2), ("b", 0.4)) for p in "pq"]
    texts = verdicts(*gains("a", 0.5, 3), *gains("b", 0.0, 3), *mem)
    assert [text.split(" by ")[0] for text in texts] == ["pocket, 30 s: a beats b", "pocket-mem, 30 s: b beats a"]
    (text,) = verdicts(*[one("a", "p", v, 1.0, backbone=b) for b, v in (("x", 0.1), ("y", 0.9))])
    assert text.startswith("30 s: y/a beats x/a by 0.80 dB in 1 of 1 prompt")


def test_drift_has_an_exact_test_over_prompts() -> None:
    falls = [drifting("a", f"p{i}", -0.2 - i / 100, -0.1) for i in range(8)]
    varies = [drifting("b", f"p{i}", 0.1 * (-1) ** i, None) for i in range(8)]
    rows = {row.method: row for row in cell_means(table([*falls, *varies])) if row.metric == "good"}
    # a: all 8 agree, 2 / 2^8, twice that for the smaller of two cells; quarter_diff has one cell
    assert rows["a"].drift_p == {"slope_per_min": 4 / 256, "quarter_diff": 2 / 256}
    assert rows["a"].is_significant("slope_per_min")
    assert rows["b"].drift_p == {"slope_per_min": 1.0}
    assert not rows["b"].is_significant("slope_per_min")
    assert not rows["a"].without_drift().is_significant("slope_per_min")
