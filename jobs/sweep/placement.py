"""How many samplers and evaluators run, and what each gets of the nodes' CPUs and GPUs. Starts nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from longtake.jobs.sweep.grid import Grid
from longtake.jobs.sweep.scheduler import EVALUATORS, SAMPLERS
from longtake.jobs.sweep.spec import WorkersConfig
from longtake.jobs.workers.sampling import SamplerWorker
from longtake.jobs.workers.scoring import ScoreWorker
from longtake.platform.plugins import NONE, Plugins
from longtake.platform.resources import Resources
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.fleet import Group, Node
from longtake.platform.workers.ray_cluster import Cluster

SAMPLER_SETTINGS = ("workers.samplers", "workers.gpus_per_sampler")


def groups(
    workers: WorkersConfig,
    cluster: Cluster,
    store: SweepStore,
    takes: int,
    gpus: float = 0.0,
    resources: Resources | None = None,
    plugins: Plugins = NONE,
) -> list[Group]:
    """The fleet for these nodes. On CPUs, where scoring costs what making costs, every core does both; a GPU belongs to
    one sampler, and the evaluators share the cores that are left."""
    cpus = sum(node.cpus for node in cluster.nodes)
    scoring = workers.gpus_per_evaluator
    named = workers.evaluators if workers.evaluators != "auto" else 1 if scoring else 0
    samplers = workers.samplers if workers.samplers != "auto" else places(less(cluster.nodes, named, scoring), gpus)
    spare = (cpus - samplers) / 2 if gpus else cpus
    evaluators = named or max(1, int(spare))
    made = min(samplers, takes)
    shared = replace(resources or Resources(), samplers_per_machine=most_together(cluster.nodes, gpus, made))
    evaluator_cpus = 1.0 if gpus and cpus >= samplers + evaluators else 0.0
    return [
        Group(
            SAMPLERS,
            partial(plugins.worker, SamplerWorker, store, shared),
            made,
            1.0,
            gpus,
            settings=SAMPLER_SETTINGS,
        ),
        Group(
            EVALUATORS,
            partial(plugins.worker, ScoreWorker, store, "cuda" if scoring else "cpu"),
            min(evaluators, takes * workers.evaluator_parts),
            evaluator_cpus,
            scoring,
            settings=("workers.evaluators", "workers.gpus_per_evaluator"),
            python=workers.evaluator_python,
            image=workers.evaluator_image,
        ),
    ]


def less(nodes: list[Node], count: int, gpus: float) -> list[Node]:
    """The nodes without the GPUs of so many workers."""
    left = list(nodes)
    for _ in range(count if gpus else 0):
        place = next((i for i, node in enumerate(left) if node.gpus >= gpus), None)
        if place is not None:
            left[place] = replace(left[place], gpus=left[place].gpus - gpus)
    return left


def batch_of(grid: Grid, takes: int, samplers: int) -> int:
    """How many takes a sampler makes together: as the sweep says, but at least one item per sampler."""
    return max(1, min(grid.batch, takes // samplers))


def places(nodes: list[Node], gpus: float) -> int:
    """How many samplers of one CPU and so many GPUs the nodes hold; at least one, which the check then refuses."""
    per_node = [min(node.cpus, node.gpus / gpus) if gpus else node.cpus for node in nodes]
    return max(1, sum(int(count) for count in per_node))


def most_together(nodes: list[Node], gpus: float, samplers: int) -> int:
    """The most samplers that one node may get. Ray places them, so a node may get as many as fit."""
    return max(1, min(samplers, max((places([node], gpus) for node in nodes), default=1)))
