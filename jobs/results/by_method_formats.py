"""A table of one metric by method, as text, Markdown and LaTeX. Missing is '-', never 0."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import new_table
from longtake.jobs.results.by_method import MethodRow, MethodTable
from longtake.jobs.results.export import (
    decimals,
    latex,
    latex_environment,
    latex_number,
    markdown_lines,
    markdown_number,
)

HEADS = ("method", "mean rank", "frames")


def text_table(table: MethodTable) -> Table:
    shown = new_table(escape(table.title))
    shown.add_column(HEADS[0], no_wrap=True)
    for head in (*HEADS[1:], *table.backbones):
        shown.add_column(escape(head), justify="right", no_wrap=True)
    for cells in rows_of(table):
        shown.add_row(*map(escape, cells))
    return shown


def rows_of(table: MethodTable) -> list[list[str]]:
    return [
        [row.method, mean_rank(row), table.frames(row), *(score(row, name, places(table)) for name in table.backbones)]
        for row in table.rows
    ]


def mean_rank(row: MethodRow) -> str:
    return "-" if row.rank is None else f"{row.rank:.2f}"


def score(row: MethodRow, backbone: str, digits: int) -> str:
    """'0.861 [0.801, 0.919]', with a star if takes are missing."""
    one = row.scores.get(backbone)
    if one is None or one.score.value is None:
        return "-"
    return markdown_number(one.score, False, digits) + ("*" if one.missing else "")


def places(table: MethodTable) -> int:
    """Decimal places that give the largest value of the table three significant digits."""
    scores = [one.score for row in table.rows for one in row.scores.values()]
    return max(decimals(max(scores, key=lambda one: abs(one.value or 0.0))) - 1, 0)


def markdown_text(tables: Sequence[MethodTable]) -> str:
    return "\n".join(map(markdown_table, tables))


def markdown_table(table: MethodTable) -> str:
    heads = [*HEADS, *table.backbones]
    rule = ["---", *["---:"] * (len(heads) - 1)]
    lines = markdown_lines([heads, rule, *rows_of(table)])
    return "\n".join([f"### {table.title}", "", *lines, "", *[f"{note}  " for note in table.notes], ""])


def latex_text(tables: Sequence[MethodTable]) -> str:
    r"""A table environment each; needs \usepackage{booktabs}."""
    return "\n".join(["% needs \\usepackage{booktabs}", *map(latex_table, tables)])


def latex_table(table: MethodTable) -> str:
    lines = []
    for row in table.rows:
        known = [(one.score, one.missing) if (one := row.scores.get(name)) else None for name in table.backbones]
        scores = [latex_number(one[0], False, places(table)) + "*" * bool(one[1]) if one else "--" for one in known]
        lines.append(" & ".join([latex(row.method), mean_rank(row), latex(table.frames(row)), *scores]) + r" \\")
    return latex_environment(
        caption=f"{table.title}, with 95 % intervals over prompts.",
        label=f"tab:{table.label}",
        columns=[*(head.capitalize() for head in HEADS), *map(latex, table.backbones)],
        layout="l" + "r" * (2 + len(table.backbones)),
        lines=lines,
        notes=table.notes,
    )


FORMATS = {"latex": latex_text, "md": markdown_text}
