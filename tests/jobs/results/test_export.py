"""`longtake leaderboard --csv, --latex, --md`: the numbers of ranks.json in the tables of a paper."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.commands.results import with_stdout
from longtake.jobs.results.board import Board, RankFilter, boards_of
from longtake.jobs.results.export import csv_text, latex, latex_number, latex_text, markdown_text
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.sweep import SweepStore
from tests.jobs.results.test_leaderboard import ranks_of, scored, swapped


def boards() -> list[Board]:
    return boards_of(swapped(), RankFilter())


def two_separable() -> Ranks:
    """Six prompts that agree: rag and native are separable."""
    return ranks_of(*[scored(name, 30, p, v) for name, v in (("rag", 0.9), ("native", 0.8)) for p in "pqrstu"])


def test_csv_has_a_row_per_cell_and_board_with_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(boards()))))
    assert [(row["seconds"], row["method"]) for row in rows] == [
        ("30", "rag"), ("30", "native"), ("60", "native"), ("60", "rag"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["sweep"], first["suite"], first["protocol"], first["prompts"]) == ("demo", "vb", "direct", "2")
    assert (first["rank"], first["imaging_quality_value"], first["imaging_quality_n"]) == ("1.0", "0.9", "2")
    assert first["group"] == "", "two prompts separate nothing"


def test_a_suite_without_a_metric_has_an_empty_field() -> None:
    ranks = ranks_of(scored("rag", 30, "p", 0.5))
    other = ranks.suites["vb"]
    trimmed = {**other.directions}
    del trimmed["temporal_flickering"]
    two = Ranks("demo", suites={"vb": other, "v2": type(other)("v2", lengths=other.lengths, directions=trimmed)})
    rows = list(csv.DictReader(io.StringIO(csv_text(boards_of(two, RankFilter())))))
    assert [row["suite"] for row in rows] == ["vb", "v2"]


def test_latex_is_a_booktabs_table_with_balanced_braces_and_equal_columns() -> None:
    text = latex_text(boards())
    assert text.startswith("% needs \\usepackage{booktabs}")
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    code = [line for line in text.splitlines() if not line.startswith("%")]
    bare = (
        "\n".join(code).replace("\\{", "").replace("\\}", "").replace("\\_", "").replace("\\%", "").replace("\\&", "")
    )
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    rows = [line for line in bare.splitlines() if line.endswith("\\\\")]
    (columns,) = {len(re.findall("[lcr]", found)) for found in re.findall(r"tabular}{(\w+)}", text)}
    assert {row.count("&") for row in rows} == {columns - 1}
    assert "_" not in re.sub(r"\$.*?\$|\\label{.*?}", "", bare), "an underscore outside of math is an error in LaTeX"
    assert r"\shortstack[r]{imaging \\ quality $\uparrow$}" in text
    assert "mathbf" not in text, "two prompts separate nothing"
    assert (
        text.count(r"{\footnotesize 2 prompts: no difference is marked; an exact test needs 6 prompts for p $<$ 0.05")
        == 2
    )
    separable = latex_text(boards_of(two_separable(), RankFilter()))
    assert r"$\mathbf{0.9000}" in separable
    assert r"rank 1 is best; bold: best mean of a metric, which is not a test.}" in separable
    assert r"{\footnotesize same letter: not separable (p $>$= 0.05, exact" in separable
    assert "no difference is marked" not in separable


def test_latex_escapes_what_it_would_interpret() -> None:
    assert latex(r"a_b 95% & #1 $x {y} ~ ^ \n") == (
        r"a\_b 95\% \& \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}n"
    )
    assert latex_number(Statistic(29.974, (29.36, 30.894)), True) == r"$\mathbf{29.97}_{-0.61}^{+0.92}$"
    assert latex_number(Statistic(-0.00012345, None), False) == "$-0.0001234$"
    assert latex_number(Statistic(1234.5), False) == "$1234$"
    assert latex_number(Statistic(), False) == "--"


def test_markdown_has_the_verdicts_and_the_best_in_bold() -> None:
    lines = markdown_text(boards_of(two_separable(), RankFilter())).splitlines()
    title, _, verdict, _, head, rule, first, second, _, bold, letters = lines
    assert title == "### demo: vb (direct, antialias, compat all, long range), 30 s, 6 prompts"
    assert verdict.startswith("pocket, 30 s: rag beats native by 1.0 ranks")
    assert head == "| backbone | method | rank | group | imaging quality (higher) | temporal flickering (higher) |"
    assert rule == "| --- | --- | ---: | --- | ---: | ---: |"
    assert first == (
        "| pocket | rag | 1.00 [1.00, 1.00] | a | **0.9000** [0.9000, 0.9000] | **0.9000** [0.9000, 0.9000] |"
    )
    assert second.startswith("| pocket | native | 2.00 [2.00, 2.00] | b | 0.8000 [")
    assert bold.startswith("bold: best mean")
    assert letters.startswith("same letter: not separable (p >= 0.05")


def test_where_nothing_is_separable_nothing_is_bold_and_a_note_says_why() -> None:
    text = markdown_text(boards())
    assert "**" not in text
    assert text.count("\n\n2 prompts: no difference is marked; an exact test needs 6 prompts for p < 0.05") == 2


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with SweepStore(tmp_path / "runs", "demo").lock() as store:
        store.write_plan("", [])
        store.write_ranks(swapped())
    return tmp_path / "runs"


def test_the_command_writes_files_or_prints(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = runs.parent / "paper" / "table.tex"
    assert execute(["leaderboard", str(runs), "--latex", str(out), "--length", "60"]) == 0
    assert capfd.readouterr().out == f"written: {out}\n"
    assert "60 s" in out.read_text()
    assert "30 s" not in out.read_text()
    for words in (["--csv"], ["--csv", "-"], ["--csv", "--suite", "vb"]):
        assert execute(["leaderboard", str(runs), *words]) == 0
        assert capfd.readouterr().out == csv_text(boards())
    assert execute(["leaderboard", str(runs), "--md", str(runs)]) == 2
    assert f"--md: {runs} is a folder; name a file, or - for stdout" in capfd.readouterr().err


def test_an_option_without_a_file_means_stdout() -> None:
    assert with_stdout(["leaderboard", "runs", "--csv", "--md", "x.md"]) == [
        "leaderboard", "runs", "--csv", "-", "--md", "x.md",
    ]  # fmt: skip
    assert with_stdout(["leaderboard", "--csv=a.csv", "--latex"]) == ["leaderboard", "--csv=a.csv", "--latex", "-"]
    assert with_stdout(["traces", "x", "--csv"]) == ["traces", "x", "--csv"]
