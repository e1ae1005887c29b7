"""`longtake leaderboard --metric`: one metric of every method, worked out by hand from scores in a real store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.evaluators.results.pooled import Pooled
from longtake.evaluators.results.table import table
from longtake.jobs.cli import execute
from longtake.jobs.results import ranks as rank
from longtake.jobs.results.board import RankFilter
from longtake.jobs.results.by_method import MethodRow, MethodTable, tables_of
from longtake.jobs.results.by_method_formats import latex_text, markdown_text, rows_of, score
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell
from tests.jobs.results.test_leaderboard import SUITE, Scored, scored, unwrapped

METRIC = "imaging_quality"
VALUES = {
    ("pocket", "rag"): {30: (0.9, 0.7), 60: (0.5, 0.3)},
    ("pocket", "native"): {30: (0.7, 0.7), 60: (0.1, 0.1)},
    ("pocket", "full"): {30: (0.95, 0.95)},
    ("pocket-mem", "rag"): {30: (0.5, 0.5), 60: (0.7, 0.7)},
    ("pocket-mem", "native"): {30: (0.6, 0.6), 60: (0.6, 0.6)},
}
"""Of the prompts p and q."""
FRAMES = {"rag": 12.0, "native": 12.0, "full": 30.0}
TITLE = "demo: vb (direct, antialias, compat all, long range), imaging quality (higher is better), "
NOTES = (
    "mean rank: of this metric within a backbone, over 2 backbones and 2 lengths",
    "* some takes have no value for this metric; its mean and rank are over the others",
    "+ attends another number of frames than the 12 of most cells",
)
BY_HAND = f"""### {TITLE}mean over 30, 60 s, 2 prompts

| method | mean rank | frames | pocket | pocket-mem |
| --- | ---: | ---: | ---: | ---: |
| full | 1.00 | 30+ | 0.950 [0.950, 0.950]* | - |
| rag | 1.50 | 12 | 0.600 [-0.671, 1.871] | 0.600 [0.600, 0.600] |
| native | 2.00 | 12-24+ | 0.400 [0.400, 0.400] | 0.600 [0.600, 0.600] |

""" + "".join(f"{note}  \n" for note in NOTES)


def scores_of_takes() -> list[Scored]:
    made = []
    for (backbone, method), by_length in VALUES.items():
        for seconds, values in by_length.items():
            for prompt, value in zip("pq", values, strict=True):
                take, scores = scored(method, seconds, prompt, value)
                made.append((replace(take, backbone=backbone), scores))
    return made


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """native at 60 s on pocket-mem attends 24 frames."""
    made = scores_of_takes()
    takes = [take for take, _ in made]
    attended = {take.cell: FRAMES[take.method.label] for take in takes} | {Cell("pocket-mem", "native", 60): 24.0}
    with SweepStore(tmp_path / "runs", "demo").lock() as store:
        store.write_plan("", [])
        store.write_table(table(made))
        store.write_ranks(rank.ranks_of("demo", table(made), takes, [SUITE], attended))
    return tmp_path / "runs"


def tables(runs: Path, metric: str = METRIC, seconds: int | None = None, full: bool = False) -> list[MethodTable]:
    store = SweepStore(runs, "demo")
    return tables_of(store, ranks_in(store), metric, RankFilter(seconds=seconds), full)


def ranks_in(store: SweepStore) -> Ranks:
    ranks = store.ranks()
    assert ranks is not None
    return ranks


def test_means_over_lengths_with_intervals_in_the_order_of_the_mean_rank(runs: Path) -> None:
    """rag on pocket: p has (.9 + .5) / 2, q (.7 + .3) / 2, so .6 with a standard error of .1, t of one degree 12.7062.

    Ranks in the backbones, at 30 and 60 s: full 1, -; rag 2, 1 and 2, 1; native 3, 2 and 1, 2. full has no takes of
    60 s.
    """
    (one,) = tables(runs)
    assert markdown_text([one]) == BY_HAND


def test_intervals_end_at_the_bounds_of_the_metric(runs: Path) -> None:
    (one,) = tables(runs, "temporal_flickering")
    assert score(one.rows[1], "pocket", 3) == "0.600 [0.000, 1.000]"


def test_all_numbers_of_a_table_have_the_decimals_of_the_largest() -> None:
    """Three significant digits of 31.5: one decimal; of .932: three, also for .0454 and 0."""
    for values, shown in (((31.5, 4.24), ["31.5", "4.2"]), ((0.932, 0.0454, 0.0), ["0.932", "0.045", "0.000"])):
        rows = [MethodRow(str(i), None, [], {"p": Pooled(Statistic(v), 0)}) for i, v in enumerate(values)]
        assert [cells[-1] for cells in rows_of(MethodTable("", "", ["p"], rows, ""))] == shown


def test_over_one_length_means_and_intervals_are_those_of_the_ranks(runs: Path) -> None:
    (one,) = tables(runs, seconds=30)
    (length,) = RankFilter(seconds=30).lengths(ranks_in(SweepStore(runs, "demo")).suites["vb"])
    found = {(row.method, name): score.score for row in one.rows for name, score in row.scores.items()}
    assert found == {(row.cell.method, row.cell.backbone): row.metrics[METRIC].score for row in length.overall}
    assert one.title == f"{TITLE}30 s, 2 prompts"
    assert [row.method for row in one.rows] == ["full", "native", "rag"], "native 3 and 1, rag 2 and 2: by name"


def test_in_full_each_length_has_a_table(runs: Path) -> None:
    assert [one.title.removeprefix(TITLE) for one in tables(runs, full=True)] == [
        "mean over 30, 60 s, 2 prompts",
        "30 s, 2 prompts",
        "60 s, 2 prompts",
    ]


def test_latex_has_the_same_rows(runs: Path) -> None:
    text = latex_text(tables(runs))
    assert r"Method & Mean rank & Frames & pocket & pocket-mem \\" in text
    assert r"rag & 1.50 & 12 & $0.600_{-1.271}^{+1.271}$ & $0.600_{-0.000}^{+0.000}$ \\" in text
    assert r"full & 1.00 & 30+ & $0.950_{-0.000}^{+0.000}$* & -- \\" in text
    assert r"\label{tab:demo-vb-imaging_quality-30-60s}" in text


def test_the_command_prints_and_writes(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["leaderboard", str(runs), "--metric", METRIC]
    assert execute([*words, "--md"]) == 0
    assert capfd.readouterr().out == BY_HAND
    assert execute(words) == 0
    shown = unwrapped(capfd.readouterr().out)
    assert "rag 1.50 12 0.600 [-0.671, 1.871] 0.600 [0.600, 0.600]" in shown
    assert "+ attends another number of frames than the 12 of most cells" in shown
    assert execute([*words, "--length", "60", "--md", str(runs.parent / "60.md")]) == 0
    assert ", 60 s, 2 prompts" in (runs.parent / "60.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "imaging"], "--metric: no ranks of 'imaging'; did you mean 'imaging_quality'"),
        (["--metric", METRIC, "--csv"], "--csv: has every metric already; leave out --metric, or take --md or --latex"),
        (["--metric", METRIC, "--rank-unit", "prompt"], "--rank-unit: a single metric is ranked by the means of cells"),
    ],
)
def test_what_does_not_apply_is_one_line(
    runs: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert execute(["leaderboard", str(runs), *words]) == 2
    assert said in capfd.readouterr().err


def test_ranks_without_bounds_are_of_an_earlier_version(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SweepStore(runs, "demo").lock() as store:
        ranks = ranks_in(store)
        store.write_ranks(replace(ranks, suites={"vb": replace(ranks.suites["vb"], bounds=None)}))
    assert execute(["leaderboard", str(runs), "--metric", METRIC]) == 2
    assert "ranks of an earlier version; run the sweep again, which keeps its takes" in capfd.readouterr().err
