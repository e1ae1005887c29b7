"""`longtake leaderboard`: what stands in its tables, from ranks that rank.py makes of scores written by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.results.table import table
from longtake.jobs.background.publication import cell_numbers
from longtake.jobs.cli import execute
from longtake.jobs.results import leaderboard
from longtake.jobs.results import ranks as rank
from longtake.jobs.results.board import RankFilter, title_of
from longtake.jobs.results.drift import show_drift
from longtake.jobs.results.lengths import show_lengths
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.records import VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, MethodSpec, Take

TWO = ["imaging_quality", "temporal_flickering"]
SUITE = SuiteEntry(
    "vbench-long", "vb", {"long_range": True, "compat": ["all"], "dimensions": TWO}, {"musiq-spaq": "aa"}
)
Scored = tuple[Take, VideoScores]


def scored(method: str, seconds: int, prompt: str, value: float, slope: float | None = None, cuts: float = 0) -> Scored:
    """Both dimensions get `value`; imaging drifts by `slope` a minute, flickering does not."""
    take = Take("pocket", MethodSpec(method, method, {}), seconds, 120, prompt, 0)
    values = dict.fromkeys(TWO, value) | {"scene_cuts": cuts}
    drift = {"imaging_quality.slope_per_min": slope, "imaging_quality.quarter_diff": slope}
    still = {f"{name}.{part}": 0.0 for name in (TWO[1], "scene_cuts") for part in ("slope_per_min", "quarter_diff")}
    return take, VideoScores("vb", "direct", "0" * 64, values, drift | still, versions=SUITE.stamp)


def ranks_of(*made: Scored, attended: dict[Cell, float] | None = None) -> Ranks:
    return rank.ranks_of("demo", table(made), [take for take, _ in made], [SUITE], attended)


def swapped(attended: dict[Cell, float] | None = None) -> Ranks:
    """rag is best at 30 s and worst at 60 s, for each of two prompts; native loses .2 and .4 a minute."""
    return ranks_of(
        *[scored("rag", 30, p, 0.9, 0.1) for p in "pq"],
        *[scored("native", 30, p, 0.8, slope) for p, slope in (("p", -0.2), ("q", -0.4))],
        *[scored("rag", 60, p, 0.3, None) for p in "pq"],
        scored("native", 60, "p", 0.8, 0.1, cuts=2), scored("native", 60, "q", 0.8, -0.1),
        attended=attended,
    )  # fmt: skip


def printed(show: Any, ranks: Ranks, view: RankFilter | None = None, width: int = 176) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    if show is leaderboard.show_full:
        show(ranks, console, {}, view or RankFilter())
    else:
        show(ranks, console, view or RankFilter())
    return out.getvalue()


def unwrapped(text: str) -> str:
    """Titles and notes are broken at the width of their table."""
    return " ".join(text.split())


def line_with(text: str, *words: str) -> str:
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


def test_titles_name_protocol_settings_length_and_unit() -> None:
    out = unwrapped(printed(leaderboard.show_full, swapped()))
    assert "demo: vb (direct, antialias, compat all, long range), 30 s, 2 prompts (rank unit: cell; rank 1 is" in out
    assert out.count("rank unit: cell") == 2
    assert "rank unit: prompt" in unwrapped(printed(leaderboard.show_full, swapped(), RankFilter("prompt")))
    plain = ranks_of(scored("rag", 30, "p", 0.5)).suites["vb"]
    plain = replace(plain, settings={"long_range": False, "compat": []})
    assert title_of("demo", "vb", plain) == "demo: vb (direct, no long range)"


def test_the_rank_unit_is_the_one_asked_for() -> None:
    # good on the mean, a is last; within prompts a wins two of three
    lucky = [scored("a", 30, "p", 0.5), scored("a", 30, "q", 0.5), scored("a", 30, "r", 0.0)]
    ranks = ranks_of(*lucky, *[scored("b", 30, p, 0.4) for p in "pqr"])
    by_cell, by_prompt = (
        printed(leaderboard.show_full, ranks),
        printed(leaderboard.show_full, ranks, RankFilter("prompt")),
    )
    assert line_with(by_cell, " pocket ", " a ").split()[:4] == ["2", "pocket", "a", "2.00"]
    assert line_with(by_prompt, " pocket ", " a ").split()[:4] == ["1", "pocket", "a", "1.33"]  # (1 + 1 + 2) / 3


def test_cuts_are_told_below_the_table() -> None:
    ranks = swapped()
    cuts = ranks.suites["vb"].cuts
    assert cuts is not None
    (most,) = cuts.most
    assert f"vb: scene cuts in 1 of 8 videos (2 in take {most.take_id} of pocket/native/60s)" in printed(
        leaderboard.show_full, ranks
    )
    assert "cuts" not in printed(leaderboard.show_full, ranks_of(scored("rag", 30, "p", 0.5)))
    many = ranks_of(*[scored("rag", 30, p, 0.5, cuts=n) for n, p in enumerate("opqrs")]).suites["vb"].cuts
    assert many is not None
    assert ([one.cuts for one in many.most], many.with_cuts, many.videos) == ([4, 3, 2], 4, 5)


def test_ranks_stand_length_beside_length() -> None:
    out = printed(show_lengths, swapped())
    assert "average rank by length (rank unit: cell" in out
    # native is second of two at 30 s and first at 60 s; in its only backbone likewise
    native, rag = line_with(out, "native"), line_with(out, "rag ")
    assert native.split() == ["pocket", "native", "2.00", "1.00", "2.00", "1.00", "2.00", "to", "1.00", "up"]
    assert rag.split() == ["pocket", "rag", "1.00", "2.00", "1.00", "2.00", "1.00", "to", "2.00", "down"]
    assert out.index("native") < out.index("rag "), "best at the longest length comes first"
    assert printed(show_lengths, swapped(), RankFilter(seconds=30)) == ""


def test_a_cell_that_was_not_made_at_every_length_is_said() -> None:
    out = printed(
        show_lengths, ranks_of(scored("a", 30, "p", 0.5), scored("b", 30, "p", 0.4), scored("a", 60, "q", 0.5))
    )
    assert line_with(out, " b ").split() == ["pocket", "b", "2.00", "-", "2.00", "-", "-"]
    assert "the lengths have different cells" in out
    assert "the lengths have different prompts" in out


def drifting(method: str, slopes: list[float | None], seconds: int = 30) -> list[Scored]:
    return [scored(method, seconds, f"p{i}", 0.8, slope) for i, slope in enumerate(slopes)]


def test_drift_is_marked_where_a_test_finds_it() -> None:
    """Seven prompts. native always loses: p = 2 / 2^7, of three cells three times that; rag goes either way."""
    ranks = ranks_of(
        *drifting("native", [-0.2, -0.4, -0.3, -0.3, -0.3, -0.2, -0.4]),
        *drifting("rag", [0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1]),
        *drifting("last", [0.1] * 7),
    )
    out = printed(show_drift, ranks)
    assert "30 s, 7 prompts: drift, slope per minute (loss, gain: p < 0.05; [95 % interval])" in unwrapped(out)
    slopes = out[out.rindex("demo: ") :]
    assert "-0.3 loss" in line_with(slopes, "native")
    assert "[-0.38, -0.22]" in slopes
    assert "+0.1 gain" in line_with(slopes, "last")
    assert line_with(slopes, "rag ").split()[2:] == ["+0.014", "+0"]
    assert line_with(slopes, "native").split()[-1] == "+0", "flickering does not drift"
    assert "no difference is marked" not in out


def test_few_prompts_have_no_mark_and_a_reason() -> None:
    out = printed(show_drift, swapped(), RankFilter(seconds=30))
    assert "loss" not in out.replace("(loss, gain", "")
    assert "gain" not in out.replace("(loss, gain", "")
    assert (
        "2 prompts: no difference is marked; an exact test needs 6 prompts for p < 0.05 (5 that all agree: 2 x 2^-5"
        in out
    )


def test_ranks_of_an_earlier_version_are_shown_without_marks() -> None:
    ranks = ranks_of(*drifting("native", [-0.3] * 8), *drifting("rag", [0.1] * 8))
    old = replace(
        ranks,
        suites={name: replace(ranked, intervals={}) for name, ranked in ranks.suites.items()},
        drift=[replace(row, drift_p=None) for row in ranks.drift],
    )
    assert " loss" not in printed(show_drift, old).replace("(loss, gain", "")
    assert "vb: intervals of an earlier version, too narrow; run the sweep again" in printed(leaderboard.show_full, old)
    assert "earlier version" not in printed(leaderboard.show_full, ranks)


def test_drift_that_is_missing_is_not_marked() -> None:
    out = printed(show_drift, swapped(), RankFilter(seconds=60))
    slopes = out[out.rindex("demo: ") :]
    native, rag = line_with(slopes, "native"), line_with(slopes, "rag ")
    assert native.split()[2:] == ["+0", "+0"]  # +.1 and -.1
    assert rag.split()[2] == "-"
    assert "* some takes have no drift" in out
    assert "scene" not in out


def test_lower_is_better_turns_loss_and_gain_around() -> None:
    entry = SuiteEntry("classical", "w")
    takes = [Take("pocket", MethodSpec("m", "m", {}), 30, 120, p, 0) for p in "pqrstu"]
    drift = {"chroma_noise.slope_per_min": 5.0, "chroma_noise.quarter_diff": -5.0}
    made = [(t, VideoScores("w", "direct", "0" * 64, {"chroma_noise": 1.0}, drift)) for t in takes]
    out = printed(show_drift, rank.ranks_of("demo", table(made), takes, [entry]))
    assert "+5 loss" in out
    assert "-5 gain" in out


def test_a_narrow_terminal_gets_a_table_in_parts_with_all_metrics() -> None:
    wide = printed(show_drift, swapped(), RankFilter(seconds=30))
    narrow = printed(show_drift, swapped(), RankFilter(seconds=30), width=40)
    assert narrow.count("backbone") > wide.count("backbone")
    assert max(len(line) for line in narrow.splitlines() if "[-1" in line) <= 40
    names = ("temporal", "motion", "subject")
    assert [narrow.count(name) for name in names] == [wide.count(name) for name in names]


def test_verdicts_stand_above_the_board_and_letters_in_it() -> None:
    better = [scored("rag", 30, f"p{i}", 0.9) for i in range(6)]
    worse = [scored("native", 30, f"p{i}", 0.8 - i / 100) for i in range(6)]
    out = printed(leaderboard.show_full, ranks_of(*better, *worse))
    verdict = (
        "pocket, 30 s: rag beats native by 1.0 ranks within prompts [1.0, 1.0] in 6 of 6 prompts "
        "(p = 0.031, Holm over 1 comparison)"
    )
    assert out.splitlines()[0] == verdict
    assert "same letter: not separable (p >= 0.05, exact sign-flip tests of the ranks within prompts, Holm over" in out
    assert "1.00 [1.00, 1.00] a" in line_with(out, " rag ", "[1.00")
    assert "2.00 [2.00, 2.00] b" in line_with(out, " native ", "[2.00")
    third = [scored("random", 30, f"p{i}", 0.5 - i / 100) for i in range(6)]
    impossible = "no difference is marked: p < 0.05 is impossible with 6 prompts and 3 comparisons"
    assert impossible in printed(leaderboard.show_full, ranks_of(*better, *worse, *third))
    assert "impossible" not in out
    few = printed(leaderboard.show_full, ranks_of(*better[:3], *worse[:3]))
    assert "in 3 of 3 prompts; too few to be sure" in few
    assert "same letter" not in few
    assert "3 prompts: no difference is marked" in few


def test_the_short_board_fits_80_columns_and_says_where_the_rest_is(
    capfd: pytest.CaptureFixture[str], runs: Path
) -> None:
    assert execute(["leaderboard", str(runs)]) == 0
    out = capfd.readouterr().out
    lines = out.splitlines()
    assert max(len(line) for line in lines if str(runs) not in line) <= 80
    assert len(lines) < 20
    assert "demo: vb (direct, antialias, compat all, long range), 60 s, 2 prompts" in lines
    assert line_with(out, "pocket/native ").split() == ["1", "pocket/native", "1.00", "[1.00,", "1.00]", "0.8", "0.8"]
    assert "also ranked: 30 s (--length 30)" in lines
    assert lines[-1] == f"all metrics, drift: longtake leaderboard {runs} --full"
    assert "2 prompts: no difference is marked" in out
    assert execute(["leaderboard", str(runs), "--length", "30"]) == 0
    assert "30 s, 2 prompts" in capfd.readouterr().out


def test_after_a_run_of_a_part_the_board_is_of_the_lengths_it_worked_on() -> None:
    def shown(worked_on: set[int]) -> str:
        out = io.StringIO()
        leaderboard.show(swapped(), Console(file=out, width=80), worked_on=worked_on)
        return out.getvalue()

    short = shown({30})
    assert "30 s, 2 prompts" in short
    assert "also ranked: 60 s (--length 60)" in short
    assert "60 s, 2 prompts" in shown({30, 60})
    assert "60 s, 2 prompts" in shown({120}), "nothing is ranked at 120 s yet"


def test_a_single_cell_has_no_rank() -> None:
    out = printed(leaderboard.show, ranks_of(*[scored("rag", 30, p, 0.5) for p in "pq"]), width=80)
    assert "rank" not in out
    assert line_with(out, "pocket/rag").split() == ["1", "pocket/rag", "0.5", "0.5"]
    assert "no difference is marked" not in out, "there is nothing to compare"


def test_a_long_verdict_is_broken_before_its_prompts() -> None:
    verdict = "pocket-mem, 60 s: random-memory beats rag by 5.9 dB [4.2, 7.6] in 3 of 3 prompts; too few to be sure"
    assert leaderboard.wrapped(verdict, 80).splitlines() == [
        "pocket-mem, 60 s: random-memory beats rag by 5.9 dB [4.2, 7.6]",
        "  in 3 of 3 prompts; too few to be sure",
    ]
    assert leaderboard.wrapped(verdict, 176) == verdict


def test_many_letters_in_a_row_are_a_span() -> None:
    texts = {"": "", "a": "a", "abc": "abc", "abcd": "a-d", "acdefgz": "ac-gz"}
    assert {letters: leaderboard.short_group(letters) for letters in texts} == texts


def test_a_long_cell_is_not_cut() -> None:
    long = "random-memory-with-a-label-that-says-everything-about-it"
    ranks = ranks_of(scored(long, 30, "p", 0.5), scored("rag", 30, "p", 0.4))
    lines = printed(leaderboard.show, ranks, width=80).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("1  "))
    assert "".join(line[3:].split(" ")[0] for line in lines[first : first + 3]).startswith(f"pocket/{long}")


def test_the_drift_of_a_count_is_nobodys() -> None:
    ranks = swapped()
    cuts = [row for row in ranks.drift if row.metric == "scene_cuts"]
    assert {row.slope_per_min for row in cuts} == {Statistic()}
    assert sorted(row.value.value or 0.0 for row in cuts) == [0.0, 0.0, 0.0, 1.0]  # 2 in one of two videos


def test_mlflow_is_told_the_intervals_of_drift() -> None:
    found = cell_numbers(Cell("pocket", "native", 30), swapped())
    slope = found["vb/imaging_quality.slope_per_min"]
    assert slope.value == pytest.approx(-0.3)
    assert slope.interval == pytest.approx(
        (-0.3 - 1.27062, -0.3 + 1.27062), abs=1e-4
    )  # standard error .1, t of 1 degree
    assert found["vb/scene_cuts"].value == 0.0
    assert not [name for name in found if name.startswith("vb/scene_cuts.slope")]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with SweepStore(tmp_path, "demo").lock() as store:
        store.write_plan("", [])
        store.write_ranks(swapped())
    return tmp_path


def test_the_command_shows_all_and_filters(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["leaderboard", str(runs), "--full"]) == 0
    out = unwrapped(capfd.readouterr().out)
    assert "average rank by length" in out
    assert "drift, slope per minute" in out
    words = ["--rank-unit", "prompt", "--suite", "vb", "--length", "60", "--full"]
    assert execute(["leaderboard", str(runs), *words]) == 0
    out = unwrapped(capfd.readouterr().out)
    assert "60 s, 2 prompts (rank unit: prompt" in out
    assert "30 s" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rank-unit", "prompts"], "--rank-unit: unknown unit 'prompts'; did you mean 'prompt'? known: cell, prompt"),
        (["--suite", "vbb"], "--suite: no ranks for suite 'vbb'; did you mean 'vb'? known: vb"),
        (["--length", "45"], "--length: no ranks at 45 s; known lengths in seconds: 30, 60"),
    ],
)
def test_what_is_not_there_is_one_line(
    runs: Path, words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["leaderboard", str(runs), *words]) == 2
    assert message in capfd.readouterr().err
