"""Figures of an evaluation: what is drawn are the report's numbers, and what has no value is not drawn as 0."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longtake.dashboards import embedder_figures as figures

LABELS = ("mine", "avg-pool", "untrained", "random", "oracle")


def row(mean: float | None, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if mean is None else (mean - 0.05, mean + 0.05)
    return {**more, "mean": mean, "low": low, "high": high, "prompts": 4, "difference": None}


def report() -> dict[str, Any]:
    """Two descriptors that compare frames, three controls; nothing is known of the oracle's recall."""
    spans = [(0.0, 60.0), (0.0, 30.0), (30.0, 60.0)]
    measures = [
        row(None if (label, name) == ("oracle", "recall") else 0.1 * (i + 1), descriptor=label, measure=name)
        | {"from_s": low, "to_s": high}
        for i, label in enumerate(LABELS)
        for name in figures.BARS
        for low, high in spans
    ]
    similar = [
        row(1 / (k + i + 1), descriptor=label, by="distance") | {"from": k, "to": k if k < 49 else k + 11}
        for i, label in enumerate(LABELS[:2])
        for k in [*range(1, 49), *range(49, 200, 12)]
    ]
    similar += [row(k / 8, descriptor="mine", by="shared") | {"from": k, "to": k} for k in range(9)]
    config = {
        "descriptors": {label: {} for label in LABELS},
        "latent_fps": 4,
        "window": {"size": 12},
        "seconds": 60.0,
        "top_k": 6,
    }
    return {"config": config, "base": "avg-pool", "measures": measures, "similarity": similar}


def lines(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.slow
def test_every_figure_is_a_picture_and_the_same_again(tmp_path: Path) -> None:
    paths = figures.draw(report(), tmp_path)
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    assert len(paths) == 4
    before = [path.read_bytes() for path in paths]
    for path in paths:
        shades = np.asarray(Image.open(path).convert("L"))
        assert min(shades.shape) > 300
        assert shades.std() > 10  # not an empty sheet
    assert [path.read_bytes() for path in figures.draw(report(), tmp_path)] == before


def test_lines_are_the_numbers_of_the_report() -> None:
    near, far = figures.similarity_by_distance(report()).axes
    mine = lines(near)["mine"]
    assert list(mine.get_xdata()[:3]) == [1, 2, 3]
    assert list(mine.get_ydata()[:3]) == [1 / 2, 1 / 3, 1 / 4]
    assert set(lines(near)) == {"mine", "avg-pool"}  # random and the oracle compare nothing
    assert lines(far)["mine"].get_xdata()[0] == (49 + 60) / 2 / 4
    shared = lines(figures.similarity_by_shared(report()).axes[0])["mine"]
    assert list(shared.get_ydata()) == [k / 8 for k in range(9)]


def test_bars_show_the_whole_video_and_missing_values_as_words() -> None:
    panel = figures.bars(report()).axes[0]
    assert [bar.get_width() for bar in panel.patches] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert [text.get_text() for text in panel.texts] == ["0.10", "0.20", "0.30", "0.40", "no value"]
    assert [label.get_text() for label in panel.get_yticklabels()] == list(LABELS)


def test_coverage_has_a_place_per_part_and_none_for_the_whole() -> None:
    axes = figures.coverage_over_time(report()).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0 to 30 s", "30 to 60 s"]
    assert list(lines(axes)["oracle"].get_ydata()) == pytest.approx([0.5, 0.5])


def test_one_prompt_has_no_band_and_still_a_line() -> None:
    told = report()
    for one in told["measures"] + told["similarity"]:
        one["low"] = one["high"] = None
    near = figures.similarity_by_distance(told).axes[0]
    assert set(lines(near)) == {"mine", "avg-pool"}
    assert not near.collections
    assert len(figures.bars(told).axes) == len(figures.BARS)


def test_matplotlib_is_imported_when_a_figure_is_drawn_and_without_its_global_state(tmp_path: Path) -> None:
    code = (
        "import sys, json\nfrom pathlib import Path\nfrom longtake.dashboards import embedder_figures as f\n"
        "assert 'matplotlib' not in sys.modules\n"
        "f.draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    (tmp_path / "report.json").write_text(json.dumps(report()))
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "report.json"), str(tmp_path)], check=True)
