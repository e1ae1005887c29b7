"""Estimates of what a take costs: busy seconds of a sampler and of an evaluator, and bytes.

The rates are those of the backbone's spec and of evaluators/scoring/cost.py, which say how they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.settings import config
from longtake.platform.takes import Cell, Take

if TYPE_CHECKING:
    from longtake.jobs.sweep.grid import Grid


@dataclass(frozen=True)
class TakeCost:
    """The estimated cost of one take. `make_seconds` and `score_seconds`: of a worker with a core, or GPUs, of its own;
    `read_seconds`: of reading its video; `cpu_seconds` and `gpu_seconds`: of making it; `encode_seconds`: the part of
    `cpu_seconds` that is encoding. `not_estimated`: metrics whose time is not known."""

    make_seconds: float
    score_seconds: float
    read_seconds: float
    cpu_seconds: float
    gpu_seconds: float
    encode_seconds: float
    video_bytes: float
    bank_bytes: float
    entry_bytes: float
    context_bytes: float = 0.0
    not_estimated: tuple[str, ...] = ()


def costs_of(grid: Grid) -> dict[Cell, TakeCost]:
    """The cost of a take of each cell; takes of a cell cost the same."""
    return {cell: cost_of(takes[0], grid) for cell, takes in grid.cells.items()}


def cost_of(take: Take, grid: Grid) -> TakeCost:
    from longtake.evaluators.scoring.cost import scoring_seconds
    from longtake.platform.backbones.base import backbones
    from longtake.platform.methods.base import methods

    method = config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")
    backbone, workers = backbones.get(take.backbone), grid.sweep.workers
    on_gpu = grid.on_gpu and backbone.spec.gpus > 0
    decodes_on_gpu = on_gpu and workers.decode_device != "cpu"
    cost = backbone.cost(take, method, on_gpu, decodes_on_gpu)
    size, scores_on_gpu = (backbone.spec.width, backbone.spec.height), bool(workers.gpus_per_evaluator)
    scoring, missing = scoring_seconds(grid.suites, take.num_frames, *size, scores_on_gpu)
    making = max(cost["gpu_seconds"], cost["cpu_seconds"])  # on a GPU the rest runs in threads beside it
    reading, _ = scoring_seconds([], take.num_frames, *size, scores_on_gpu)
    return TakeCost(making, scoring, reading, **cost, not_estimated=tuple(missing))
