"""Computes the number of samplers and evaluators, and their shares of the CPUs and GPUs. Starts nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from longtake.jobs.sweep.estimates.busy_time import EVALUATORS, SAMPLERS, StageWorkers
from longtake.jobs.sweep.grid import INLINE, Grid
from longtake.jobs.sweep.spec import WorkersConfig
from longtake.jobs.workers.sampling import SamplerWorker
from longtake.jobs.workers.scoring import ScoreWorker
from longtake.platform.machine.resources import Resources
from longtake.platform.plugins import NONE, Plugins
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.fleet import Group, Node
from longtake.platform.workers.ray_cluster import Cluster

SAMPLER_SETTINGS = ("workers.samplers", "workers.gpus_per_sampler")


def stage_workers(workers: WorkersConfig, nodes: list[Node], takes: int, gpus: float) -> dict[str, StageWorkers]:
    """How many samplers and evaluators run on these nodes. On CPUs scoring costs as much as generation, so every core
    does both. On GPUs each sampler has its own, and the evaluators share the remaining cores."""
    cpus, eval_gpus = sum(node.cpus for node in nodes), workers.gpus_per_evaluator
    named = workers.evaluators if workers.evaluators != "auto" else 1 if eval_gpus else 0
    samplers = workers.samplers if workers.samplers != "auto" else slots(reserve(nodes, named, eval_gpus), gpus)
    spare = (cpus - samplers) / 2 if gpus else cpus
    evaluators = named or max(1, int(spare))
    return {
        SAMPLERS: StageWorkers(min(samplers, takes), on_cpu=not gpus),
        EVALUATORS: StageWorkers(min(evaluators, takes * workers.evaluator_parts), on_cpu=not eval_gpus),
    }


def stages_on(grid: Grid, nodes: list[Node]) -> tuple[dict[str, StageWorkers], float]:
    """The workers of the sweep on these nodes, and the cores that they share. Inline workers take turns."""
    if grid.sweep.workers.cluster == INLINE:
        return {SAMPLERS: StageWorkers(1), EVALUATORS: StageWorkers(1)}, 1.0
    workers = stage_workers(grid.sweep.workers, nodes, len(grid.takes), grid.gpus)
    return workers, sum(node.cpus for node in nodes)


def groups(
    workers: WorkersConfig,
    cluster: Cluster,
    store: SweepStore,
    takes: int,
    gpus: float = 0.0,
    resources: Resources | None = None,
    plugins: Plugins = NONE,
) -> list[Group]:
    """The fleet for the nodes of the cluster."""
    cpus, eval_gpus = sum(node.cpus for node in cluster.nodes), workers.gpus_per_evaluator
    stages = stage_workers(workers, cluster.nodes, takes, gpus)
    count, evaluators = stages[SAMPLERS].count, stages[EVALUATORS].count
    sampler_resources = replace(resources or Resources(), samplers_per_machine=max_per_node(cluster.nodes, gpus, count))
    evaluator_cpus = 1.0 if gpus and cpus >= count + evaluators else 0.0
    return [
        Group(
            SAMPLERS,
            partial(plugins.worker, SamplerWorker, store, sampler_resources),
            count,
            1.0,
            gpus,
            workers.patience,
            SAMPLER_SETTINGS,
        ),
        Group(
            EVALUATORS,
            partial(plugins.worker, ScoreWorker, store, "cuda" if eval_gpus else "cpu"),
            evaluators,
            evaluator_cpus,
            eval_gpus,
            settings=("workers.evaluators", "workers.gpus_per_evaluator"),
            python=workers.evaluator_python,
            image=workers.evaluator_image,
        ),
    ]


def reserve(nodes: list[Node], count: int, gpus: float) -> list[Node]:
    """The nodes without the GPUs of `count` workers."""
    left = list(nodes)
    for _ in range(count if gpus else 0):
        index = next((i for i, node in enumerate(left) if node.gpus >= gpus), None)
        if index is not None:
            left[index] = replace(left[index], gpus=left[index].gpus - gpus)
    return left


def batch_of(grid: Grid, takes: int, samplers: int) -> int:
    """Number of families, or takes, per item: the sweep's batch, reduced so that every sampler has an item."""
    return max(1, min(grid.batch, takes // samplers))


def slots(nodes: list[Node], gpus: float) -> int:
    """Number of samplers, each with one CPU and `gpus` GPUs, that fit on the nodes; at least 1, checked later."""
    per_node = [min(node.cpus, node.gpus / gpus) if gpus else node.cpus for node in nodes]
    return max(1, sum(int(count) for count in per_node))


def max_per_node(nodes: list[Node], gpus: float, samplers: int) -> int:
    """Largest number of samplers on one node. Ray may place as many there as fit."""
    return max(1, min(samplers, max((slots([node], gpus) for node in nodes), default=1)))
