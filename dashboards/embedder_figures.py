"""Figures of an embedder evaluation, drawn from its report (eval.json) alone.

The only importer of matplotlib, which is imported on use. Figures use the Agg canvas and no global state. Bands and
whiskers are the 95 % intervals over prompts of the report; missing values are not drawn. Each descriptor has the same
colour in all figures; controls are dashed or grey.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.store import durable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = dict[str, Any]
Row = dict[str, Any]
Style = dict[str, Any]

DPI = 130
NEAR = 48
LOSS_WINDOW = 3
COLOURS = ("#1f5fbf", "#2a9d5c", "#b8328a", "#7b52c9", "#0f9bb0", "#a0522d", "#5a7d1f", "#d0498f")
CONTROLS: dict[str, Style] = {
    "avg-pool": {"color": "#d9731a", "linestyle": "-"},
    "untrained": {"color": "#8c8c94", "linestyle": "--"},
    "random": {"color": "#8c8c94", "linestyle": ":"},
    "oracle": {"color": "#18181c", "linestyle": "--"},
}
BARS = ("recall", "shifted_recall", "precision", "shifted_precision", "coverage")
FAINT, GRID = "#6e6e76", "#e4e4e8"


def draw(report: Report, folder: Path) -> list[Path]:
    """Write every figure as a PNG, atomically. Raises StorageError."""
    figures: dict[str, Callable[[Report], Figure]] = {
        "similarity_distance.png": similarity_by_distance,
        "similarity_shared.png": similarity_by_shared,
        "recall.png": bars,
        "coverage_time.png": coverage_over_time,
    }
    for name, make in figures.items():
        data = io.BytesIO()
        make(report).savefig(data, format="png", dpi=DPI, facecolor="white")
        durable.replace_file(folder / name, data.getvalue())
    return [folder / name for name in figures]


def similarity_by_distance(report: Report) -> Figure:
    """Left: distances up to NEAR frames. Right: the rest of the video, in bins."""
    figure = new_figure(11, 4.4)
    near, far = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    frames_per_second = report["config"]["latent_fps"]
    for label, style in styles(report).items():
        rows = of(report["similarity"], descriptor=label, by="distance")
        band(near, [row for row in rows if row["to"] <= NEAR], lambda row: row["from"], label, style)
        beyond = [row for row in rows if row["to"] > NEAR]
        band(far, beyond, lambda row: (row["from"] + row["to"]) / 2 / frames_per_second, label, style)
    near.axvspan(0.5, LOSS_WINDOW + 0.5, color="#f3e6c8", zorder=0, lw=0)
    corner: Style = {"transform": near.get_xaxis_transform(), "va": "top"}
    near.text(LOSS_WINDOW + 0.9, 0.985, "window of the\ndelta loss", **small(), **corner)
    near.set_xlim(0.5, NEAR + 0.5)
    near.set_xticks([1, *range(6, NEAR + 1, 6)])
    style_axes(near, "Similarity of neighbouring frames", "distance, latent frames", "mean cosine similarity")
    style_axes(far, "Over the rest of the video", "distance, s", "")
    return with_legend(figure, near)


def similarity_by_shared(report: Report) -> Figure:
    figure = new_figure(6.6, 4.6)
    axes = figure.subplots()
    for label, style in styles(report).items():
        rows = of(report["similarity"], descriptor=label, by="shared")
        band(axes, rows, lambda row: row["from"], label, style | {"marker": "o", "markersize": 4})
    apart = report["config"]["window"]["size"]
    style_axes(axes, "Similarity against shared content", "columns that both frames show", "mean cosine similarity")
    axes.set_xlabel(f"columns that both frames show (pairs at least {apart} frames apart)")
    return with_legend(figure, axes)


def bars(report: Report) -> Figure:
    """One panel per measure, one bar per descriptor."""
    labels = list(styles(report))
    figure = new_figure(12.5, 1.5 + 0.36 * len(labels))
    panels = figure.subplots(1, len(BARS), sharey=True)
    for panel, measure in zip(panels, BARS, strict=True):
        for place, (label, style) in enumerate(styles(report).items()):
            bar(panel, place, whole(report, label, measure), style["color"], label == "untrained")
        title = measure.replace("_", " ") + ("" if measure == "coverage" else f"@{report['config']['top_k']}")
        style_axes(panel, title, "", "")
        panel.set_xlim(0, 1.22)
        panel.set_xticks([0, 0.5, 1])
        panel.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    figure.supxlabel(
        "shifted: without copies of the query; coverage: share of the next new columns that the retrieved frames show",
        fontsize=9,
        color=FAINT,
    )
    return figure


def bar(axes: Axes, place: int, row: Row | None, colour: str, hollow: bool) -> None:
    if row is None or row["mean"] is None:
        axes.text(0.02, place, "no value", va="center", **small())
        return
    face: Style = {"facecolor": "white", "hatch": "////"} if hollow else {"facecolor": colour}
    axes.barh(place, row["mean"], height=0.66, edgecolor=colour, **face)
    right = row["mean"]
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [place, place], color="#18181c", lw=1.4, solid_capstyle="butt")
        right = max(right, row["high"])
    axes.text(right + 0.03, place, f"{row['mean']:.2f}", va="center", fontsize=8.5)


def coverage_over_time(report: Report) -> Figure:
    """Coverage by part of the video. Parts are evenly spaced, because their lengths differ."""
    figure = new_figure(7.6, 4.6)
    axes = figure.subplots()
    total = report["config"]["seconds"]
    spans = sorted({(row["from_s"], row["to_s"]) for row in report["measures"]})
    spans = [span for span in spans if span != (0.0, total)] or spans
    shown = styles(report)
    for number, (label, style) in enumerate(shown.items()):
        rows = of(report["measures"], descriptor=label, measure="coverage")
        points = [
            (spans.index((row["from_s"], row["to_s"])), row) for row in rows if (row["from_s"], row["to_s"]) in spans
        ]
        points = sorted(((at, row) for at, row in points if row["mean"] is not None), key=lambda pair: pair[0])
        shift = (number - (len(shown) - 1) / 2) * 0.05
        axes.plot(
            [at + shift for at, _ in points], [row["mean"] for _, row in points], label=label, marker="o", ms=4, **style
        )
        for at, row in points:
            if row["low"] is not None:
                axes.plot([at + shift] * 2, [row["low"], row["high"]], color=style["color"], lw=1.2)
    axes.set_xticks(range(len(spans)), [f"{low:g} to {high:g} s" for low, high in spans])
    axes.set_ylim(-0.03, 1.05)
    style_axes(axes, "Coverage of new columns by the retrieved frames", "part of the video", "coverage of new columns")
    return with_legend(figure, axes)


def styles(report: Report) -> dict[str, Style]:
    """Label -> colour and line style, in the order of the report."""
    labels = list(report["config"]["descriptors"])
    own = [label for label in labels if label not in CONTROLS]
    colours = {label: {"color": COLOURS[i % len(COLOURS)], "linestyle": "-"} for i, label in enumerate(own)}
    return {label: CONTROLS.get(label) or colours[label] for label in labels}


def of(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def whole(report: Report, label: str, measure: str) -> Row | None:
    span = {"from_s": 0.0, "to_s": report["config"]["seconds"]}
    return next(iter(of(report["measures"], descriptor=label, measure=measure, **span)), None)


def band(axes: Axes, rows: list[Row], place: Callable[[Row], float], label: str, style: Style) -> None:
    """Draw means with their intervals; draws nothing for a descriptor without values."""
    known = [row for row in rows if row["mean"] is not None]
    if not known:
        return
    places = [place(row) for row in known]
    axes.plot(places, [row["mean"] for row in known], label=label, lw=1.7, **style)
    edged = [(at, row["low"], row["high"]) for at, row in zip(places, known, strict=True) if row["low"] is not None]
    if edged:
        at, low, high = zip(*edged, strict=True)
        axes.fill_between(at, low, high, color=style["color"], alpha=0.15, lw=0)


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style_axes(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def small() -> Style:
    return {"fontsize": 8.5, "color": FAINT}


def with_legend(figure: Figure, axes: Axes) -> Figure:
    """Add one legend beside the axes, where it hides no lines."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure
