"""A sweep file expanded: backbones x methods x lengths x prompts x seeds -> takes.

Names and parameters are resolved in `resolve.py`; generates nothing and writes nothing. Raises here every error that is
known before generation: a bad prompt, a bad parameter, missing weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.sweep import prompts as sweep_prompts
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.resolve import (
    PinnedEntry,
    check_prompts,
    check_seeds,
    find_backbone,
    find_suites,
    fingerprint_of,
    pin_models,
    resolve_method,
    rounded_frames,
    switches_of,
)
from longtake.jobs.sweep.selection import EVERYTHING, Selection
from longtake.jobs.sweep.spec import SweepConfig
from longtake.platform import plugins
from longtake.platform.errors import ConfigError, NotPulledError
from longtake.platform.machine.process import collection_paused
from longtake.platform.machine.resources import BankCapacity, Resources, gpu_count
from longtake.platform.plugins import NONE, Plugins
from longtake.platform.prompts import Prompt
from longtake.platform.settings import config
from longtake.platform.takes import Cell, Take
from longtake.platform.tracking.addresses import without_password

CPU_BATCH = 4
INLINE = "inline"
HERE = ("local", INLINE)
"""Clusters that are this machine."""


@dataclass(frozen=True)
class Grid:
    """A sweep's takes in the order of its file, and `notes` about adjusted values, one line each. `planned` are all
    takes of the sweep, `takes` those that the run selects. Without `ids_are_final`, something that ids depend on is not
    on this machine, so they cannot be compared with those of a store."""

    sweep: SweepConfig
    file: Path
    prompts: list[Prompt]
    planned: list[Take]
    suites: list[SuiteEntry]
    notes: list[str]
    plugins: Plugins = NONE
    selection: Selection = EVERYTHING
    ids_are_final: bool = True

    @cached_property
    def takes(self) -> list[Take]:
        """The takes to work on, in order."""
        return self.selection.of(self.planned)

    @cached_property
    def cells(self) -> dict[Cell, list[Take]]:
        """The takes of each cell, in order."""
        cells: dict[Cell, list[Take]] = {}
        for take in self.takes:
            cells.setdefault(take.cell, []).append(take)
        return cells

    @property
    def gpus(self) -> float:
        """Number of GPUs per sampler: the sweep's setting, or the most that any of its backbones needs."""
        from longtake.platform.backbones.base import backbones

        workers = self.sweep.workers
        if workers.gpus_per_sampler != "auto":
            return float(workers.gpus_per_sampler)
        if workers.device == "cpu":
            return float(workers.gpus_named)
        return max(workers.gpus_named, *(backbones.get(name).spec.gpus for name in self.sweep.backbones))

    @property
    def on_gpu(self) -> bool:
        return self.gpus > 0 and self.sweep.workers.device != "cpu"

    @property
    def samplers_here(self) -> int:
        """Number of samplers on this machine, if the sweep runs here."""
        workers = self.sweep.workers
        if workers.cluster == INLINE:
            return 1
        if workers.samplers != "auto":
            return min(int(workers.samplers), len(self.takes))
        if not self.on_gpu:
            return min(os.cpu_count() or 1, len(self.takes))
        return max(1, min(int(gpu_count() / self.gpus), len(self.takes)))

    @cached_property
    def bank(self) -> BankCapacity:
        """The capacity for a sampler's banks. On this machine, the share of its memory is computed once,
        so that the plan, the check and the run use the same number."""
        capacity = self.sweep.workers.bank
        return capacity.on_this_machine(self.samplers_here) if self.sweep.workers.cluster in HERE else capacity

    def resources(self, texts: Path) -> Resources:
        """The resources of each sampler. A sampler without a GPU of its own uses the CPU, even on a GPU machine."""
        workers = self.sweep.workers
        device = workers.device if self.on_gpu or workers.device != "auto" else "cpu"
        disk = self.bank.disk and str(Path(self.bank.disk).absolute())
        bank = replace(self.bank, disk=disk)
        return Resources(
            device,
            workers.decode_device,
            workers.compile,
            bank,
            texts,
            attention_shares=workers.attention_shares,
            precision=workers.precision,
            decode=self.sweep.decode,
        )

    def check_resources(self) -> None:
        """Raises ConfigError, in the driver, for a precision or a decode that the samplers of this sweep cannot do."""
        from longtake.platform.backbones.base import backbones, check_decode, check_precision

        precision = self.sweep.workers.precision
        for name in self.sweep.backbones:
            check_precision(backbones.get(name).spec, precision)
            check_decode(backbones.get(name).spec, self.sweep.decode)
        if precision == "fp8" and not self.on_gpu:
            raise ConfigError(
                "workers.precision: 'fp8' needs a GPU, but the samplers compute on the CPU (see workers.device, "
                "workers.gpus_per_sampler); set bf16 or null"
            )

    @property
    def batch(self) -> int:
        """Largest number of takes in a batch. One take fills a GPU; on a CPU, small networks are faster in batches."""
        batch = self.sweep.workers.batch
        return batch if batch != "auto" else 1 if self.on_gpu else CPU_BATCH

    @property
    def config_yaml(self) -> str:
        """The resolved sweep with its prompts, as stored beside the results, without passwords in URLs."""
        tracking = replace(self.sweep.tracking, uri=without_password(self.sweep.tracking.uri))
        prompts = [sweep_prompts.written(prompt) for prompt in self.prompts]
        return config.dump(replace(self.sweep, prompts=prompts, tracking=tracking, plugins=list(self.plugins.names)))


@collection_paused()
def expand(
    file: str | Path, overrides: Sequence[str] = (), need_weights: bool = True, selection: Selection = EVERYTHING
) -> Grid:
    """Read, check and expand a sweep file. Raises ConfigError (file, key, value, rule) or WeightsError.

    Without `need_weights`, missing weights and prompts are notes, and all but the weights of suites leave the takes
    without their final ids (`Grid.ids_are_final`).
    """
    file = Path(file)
    sweep = sweeps.load(file, overrides)
    notes, missing = list[str](), None if need_weights else list[str]()
    prompts = prompts_of(sweep, file, missing)
    loaded = plugins.load(sweep.plugins, file)
    suites = find_suites(sweep, file, notes, need_weights)
    takes: list[Take] = []
    entries = [pin_models(entry, sweep, file) for entry in sweep.method_entries()]
    for name in sweep.backbones:
        takes += backbone_takes(name, sweep, entries, prompts, file, notes, missing)
    check_unique(takes, file)
    notes = [*(missing or ()), *notes]
    return checked(Grid(sweep, file, prompts, takes, suites, notes, loaded, selection, ids_are_final=not missing))


def prompts_of(sweep: SweepConfig, file: Path, missing: list[str] | None) -> list[Prompt]:
    """The prompts. With a list for what is `missing`, stand-ins for those of a file that was not pulled yet, and a
    line in it. Raises ConfigError, NotPulledError."""
    try:
        return sweep_prompts.read_prompts(sweep.prompts, file)
    except NotPulledError as error:
        if missing is None:
            raise
        prompts = sweep_prompts.stand_in_prompts(sweep.prompts.get("limit"))
        missing.append(f"{len(prompts)} prompts are assumed: {str(error).removeprefix(f'{file}: ')}")
        return prompts


def checked(grid: Grid) -> Grid:
    """The grid, if its samplers support its precision and decode; else raises ConfigError."""
    try:
        grid.check_resources()
        grid.selection.check(grid.planned)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error
    if grid.sweep.workers.precision == "fp8":
        grid.notes.append(
            "workers.precision: fp8 changes pixels beyond rounding; takes in fp8 and bf16 have different ids"
        )
    return grid


def backbone_takes(
    name: str,
    sweep: SweepConfig,
    entries: list[PinnedEntry],
    prompts: list[Prompt],
    file: Path,
    notes: list[str],
    missing: list[str] | None,
) -> list[Take]:
    """The takes of one backbone. Appends to `notes` when a length was rounded, to `missing` when weights are."""
    backbone = find_backbone(name, file)
    check_prompts(backbone, prompts, file)
    check_seeds(backbone, sweep.seeds, file)
    if sweep.prefix_s and not backbone.spec.provides_prefix:
        raise ConfigError(f"{file}: prefix_s: backbone {name!r} has no real frames to start from; set prefix_s to 0")
    backbone_fingerprint = fingerprint_of(backbone, missing, sweep.workers.precision, sweep.decode)
    start = rounded_frames("prefix_s", sweep.prefix_s, backbone.spec, notes) if sweep.prefix_s else 0
    lengths = [(seconds, rounded_frames("lengths_s", seconds, backbone.spec, notes)) for seconds in sweep.lengths_s]
    shortest = min(lengths)
    if start >= shortest[1]:
        raise ConfigError(f"{file}: prefix_s: {sweep.prefix_s:g} s leave nothing to generate; lower it")
    timed = switches_of(prompts, backbone.spec, shortest, start, file)
    takes = []
    for entry, versions in entries:
        spec, method_fingerprint = resolve_method(entry, backbone, file, missing, sweep.budget, notes)
        fingerprint = tuple(sorted({**backbone_fingerprint, **method_fingerprint, **versions}.items()))
        takes += [
            Take(name, spec, seconds, frames, prompt.text, seed, start, fingerprint, switches)
            for seconds, frames in lengths
            for prompt, switches in timed
            for seed in sweep.seeds
        ]
    return takes


def check_unique(takes: list[Take], file: Path) -> None:
    """Raises ConfigError for two takes with the same pixels: they would be generated once but counted twice."""
    seen: dict[str, Take] = {}
    for take in takes:
        other = seen.setdefault(take.id, take)
        if other.full_prompt != take.full_prompt:
            raise ConfigError(
                f"{file}: prompts: {other.full_prompt!r:.80} and {take.full_prompt!r:.80} change at the same blocks to "
                "the same texts; remove one"
            )
        if other is not take:
            labels = f"{other.method.label!r} and {take.method.label!r}"
            raise ConfigError(f"{file}: methods: {labels} have the same parameters; remove one")
