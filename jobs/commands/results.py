"""Commands that read the results of sweeps: `longtake leaderboard`, `compare`, `traces` and `dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SweepFolder = Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="The folder of a sweep, such as runs/NAME.")]
Runs = Annotated[Path, typer.Argument(metavar="[RUNS]", help="Output folder of the sweeps.")]


def leaderboard(
    runs: Runs = Path("runs"),
    sweep: Annotated[str | None, typer.Option(help="Show only this sweep.")] = None,
    rank_unit: Annotated[
        str, typer.Option(metavar="cell|prompt", help="Rank by means, or rank within each prompt and average.")
    ] = "cell",
    suite: Annotated[str | None, typer.Option(help="Show only this suite.")] = None,
    length: Annotated[int | None, typer.Option(metavar="SECONDS", help="Show only videos of this length.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Show only this metric: methods x backbones, mean over the lengths.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show every length and metric, changes of ranks, and drift.")
    ] = False,
    csv: Annotated[str | None, typer.Option(metavar="[FILE]", help="Write a CSV file; no FILE: to stdout.")] = None,
    latex: Annotated[str | None, typer.Option(metavar="[FILE]", help="Write LaTeX tables for booktabs.")] = None,
    md: Annotated[str | None, typer.Option(metavar="[FILE]", help="Write Markdown tables.")] = None,
) -> int:
    """Show the ranks of every sweep in a folder: which methods are best, by how much, and how sure that is."""
    from longtake.jobs.console import console_for
    from longtake.jobs.results import show
    from longtake.jobs.results.board import RankFilter

    view, formats = RankFilter(rank_unit, suite, length), {"csv": csv, "latex": latex, "md": md}
    wanted = {name: file for name, file in formats.items() if file is not None}
    if metric is not None:
        return show.show_metric(runs, sweep, metric, view, wanted, console_for(), full)
    if wanted:
        return show.export_folder(runs, sweep, view, wanted, console_for())
    return show.show_folder(runs, sweep, view, console_for(), full)


def with_stdout(arguments: list[str]) -> list[str]:
    """The arguments, with '-' (stdout) after an export option of `leaderboard` that names no file."""
    if arguments[:1] != ["leaderboard"]:
        return arguments
    following = [*arguments[1:], "--"]
    pairs = zip(arguments, following, strict=True)
    return [
        word
        for argument, after in pairs
        for word in ([argument, "-"] if argument in ("--csv", "--latex", "--md") and after[:2] == "--" else [argument])
    ]


def compare(
    folder: SweepFolder,
    base: Annotated[str | None, typer.Option(help="Baseline method; default: the first of the sweep.")] = None,
    metric: Annotated[str | None, typer.Option(help="Show only this metric, by part of the video.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers to this CSV file.")] = None,
) -> int:
    """Compare the scores of every method with a baseline, paired over prompts, with confidence intervals."""
    from longtake.jobs.results.compare import compare as compare_sweep

    return compare_sweep(folder, base, metric, out)


def traces(
    folder: SweepFolder,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write all numbers to this CSV file.")] = None,
) -> int:
    """Show what the methods of a sweep attended to: frames, similarity, age, places, attention."""
    from longtake.jobs.results.traces import traces as show_traces

    return show_traces(folder, out)


def dashboard(
    runs: Runs = Path("runs"),
    host: Annotated[str, typer.Option(help="Listen address; any except loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="If in use, the next free one; 0: any free port.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="LONGTAKE_DASHBOARD_TOKEN", help="Access token; default: generated if one is required."),
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> int:
    """Serve a web page that compares backbones and methods over a folder of sweeps. Read-only."""
    from longtake.jobs.dashboard import dashboard as serve

    return serve(runs, host, port, token, browse)
