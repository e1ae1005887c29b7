"""Boards as tables for a paper or a spreadsheet: CSV, LaTeX (booktabs) and Markdown. Numbers have their 95 % intervals.

CSV has full precision and one row per cell; text that a spreadsheet would run as a formula gets an apostrophe. LaTeX
and Markdown have one table per board, with the notes of the board. If it separates any cells, the best mean of each
metric is in bold. Missing is never 0: it is - or empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from longtake.dashboards.leaderboard import FIELDS, numbers_of, plain, with_bounds
from longtake.jobs.results.board import Board
from longtake.platform.errors import ConfigError
from longtake.platform.store import durable
from longtake.platform.store.json_records import Statistic

STDOUT = "-"
BOLD = "bold: best mean of a metric, which is not a test"
LATEX_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{char: f"\\{char}" for char in "&%$#_{}"},
        **{char: f"${char}$" for char in "<>"},
    }
)
ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}


def write(boards: Sequence[Board], wanted: dict[str, str], say: Callable[[str], None]) -> None:
    """Write the boards in each wanted format: name of FORMATS -> file, or '-' for stdout. Raises ConfigError."""
    if not boards:
        raise ConfigError("no ranks to export yet; run the sweep first")
    write_texts({name: FORMATS[name](boards) for name in wanted}, wanted, say)


def write_texts(texts: dict[str, str], wanted: dict[str, str], say: Callable[[str], None]) -> None:
    """Write the text of each wanted format to its file, or to stdout for '-'. Raises ConfigError."""
    for name, where in wanted.items():
        text = texts[name]
        if where == STDOUT:
            print(text, end="")
            continue
        path = Path(where)
        if path.is_dir():
            raise ConfigError(f"--{name}: {path} is a folder; name a file, or - for stdout")
        durable.make_folder(path.parent)
        durable.replace_file(path, text.encode())
        say(f"written: {path}")


def csv_text(boards: Sequence[Board]) -> str:
    """One row per board and cell; the metrics of all boards side by side, empty where a suite does not have one."""
    metrics = list(dict.fromkeys(name for board in boards for name in board.metrics))
    names = [f"{metric}_{field}" for metric in metrics for field in FIELDS]
    head = ("sweep", "suite", "protocol", "seconds", "prompts", "backbone", "method", "rank", "rank_low", "rank_high")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(plain, (*head, "group", "frames", *names)))
    for board in boards:
        about = board.sweep, board.suite, board.ranked.protocol, board.length.seconds, board.length.prompts
        for row in board.rows:
            rank = with_bounds(row.rank(board.view.unit))
            numbers = [value for metric in metrics for value in numbers_of(row.metrics.get(metric))]
            writer.writerow(
                map(plain, (*about, row.cell.backbone, row.cell.method, *rank, row.group, row.frames, *numbers))
            )
    return text.getvalue()


def latex_text(boards: Sequence[Board]) -> str:
    r"""A table environment per board; needs \usepackage{booktabs}."""
    return "\n".join(["% needs \\usepackage{booktabs}", *map(latex_table, boards)])


def latex_table(board: Board) -> str:
    letters = ["group"] if board.has_groups else []
    budgets = ["frames"] if board.has_frames else []
    heads = [latex_head(name, board.ranked.directions[name]) for name in board.metrics]
    columns = ["Backbone", "Method", "Rank", *letters, *map(str.capitalize, budgets), *heads]
    best = {name: board.best(name) for name in board.metrics}
    lines = []
    for row in board.rows:
        scores = [latex_number(row.metrics[name].score, row.cell in best[name]) for name in board.metrics]
        group = [row.group or ""] if letters else []
        rank = latex_number(row.rank(board.view.unit), False, 2)
        frames = [latex(board.frames(row))] if budgets else []
        cell = [latex(row.cell.backbone), latex(row.cell.method)]
        lines.append(" & ".join([*cell, rank, *group, *frames, *scores]) + r" \\")
    layout = "ll" + "r" + "l" * len(letters) + "r" * len(budgets) + "r" * len(heads)
    environment = latex_environment(
        caption(board),
        f"tab:{board.sweep}-{board.suite}-{board.length.seconds}s",
        columns,
        layout,
        lines,
        board.notes(),
    )
    return "\n".join([*[f"% {line}" for line in board.length.verdicts], environment])


def latex_environment(
    caption: str, label: str, columns: Sequence[str], layout: str, lines: Sequence[str], notes: Sequence[str]
) -> str:
    """A table of `lines` that are LaTeX, as are `columns`; caption and notes are plain text."""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            " & ".join(columns) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *[rf"\par\smallskip{{\footnotesize {latex(note)}\par}}" for note in notes],
            r"\end{table}",
            "",
        ]
    )


def latex_head(metric: str, direction: str) -> str:
    """The words of a metric below each other, so that a table of many metrics fits a page."""
    words = r" \\ ".join(map(latex, metric.split("_")))
    return rf"\shortstack[r]{{{words} {ARROWS[direction]}}}"


def latex(text: str) -> str:
    return text.translate(LATEX_SPECIAL)


def latex_number(one: Statistic, is_best: bool, digits: int | None = None) -> str:
    """'$29.97_{-0.61}^{+0.92}$': the value and the distances to the bounds of its interval."""
    if one.value is None:
        return "--"
    places = digits if digits is not None else decimals(one)
    value = f"{one.value:.{places}f}"
    value = rf"\mathbf{{{value}}}" if is_best else value
    if one.interval is None:
        return f"${value}$"
    below, above = (abs(bound - one.value) for bound in one.interval)
    return f"${value}_{{-{below:.{places}f}}}^{{+{above:.{places}f}}}$"


def markdown_text(boards: Sequence[Board]) -> str:
    return "\n".join(map(markdown_table, boards))


def markdown_table(board: Board) -> str:
    letters = ["group"] if board.has_groups else []
    budgets = ["frames"] if board.has_frames else []
    heads = [f"{name.replace('_', ' ')} ({board.ranked.directions[name]})" for name in board.metrics]
    columns = ["backbone", "method", "rank", *letters, *budgets, *heads]
    best = {name: board.best(name) for name in board.metrics}
    rows = []
    for row in board.rows:
        scores = [markdown_number(row.metrics[name].score, row.cell in best[name]) for name in board.metrics]
        group = [row.group or ""] if letters else []
        rank = markdown_number(row.rank(board.view.unit), False, 2)
        frames = [board.frames(row)] if budgets else []
        rows.append([row.cell.backbone, row.cell.method, rank, *group, *frames, *scores])
    rule = ["---", "---", "---:", *["---" for _ in letters], *["---:" for _ in [*budgets, *heads]]]
    lines = markdown_lines([columns, rule, *rows])
    notes = [f"{note}  " for note in notes_of(board)]
    parts = [f"### {board.title}", "", *[f"{line}  " for line in board.length.verdicts], "", *lines, ""]
    return "\n".join([*parts, *notes, ""] if notes else parts)


def markdown_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def markdown_number(one: Statistic, is_best: bool, digits: int | None = None) -> str:
    """'**29.97** [29.36, 30.89]'."""
    if one.value is None:
        return "-"
    places = digits if digits is not None else decimals(one)
    value = f"**{one.value:.{places}f}**" if is_best else f"{one.value:.{places}f}"
    bounds = f" [{one.interval[0]:.{places}f}, {one.interval[1]:.{places}f}]" if one.interval else ""
    return value + bounds


def decimals(one: Statistic) -> int:
    """Decimal places for four significant digits of the value."""
    exponent = int(f"{one.value or 1.0:.3e}".partition("e")[2])
    return min(max(3 - exponent, 0), 8)


def caption(board: Board) -> str:
    bold = f"; {BOLD}" if board.separates else ""
    return f"{board.title}: mean over prompts with 95 % interval; rank 1 is best{bold}."


def notes_of(board: Board) -> list[str]:
    return ([BOLD] if board.separates else []) + board.notes()


FORMATS: dict[str, Callable[[Sequence[Board]], str]] = {
    "csv": csv_text,
    "latex": latex_text,
    "md": markdown_text,
}
