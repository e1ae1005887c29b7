"""A sweep file expanded: backbones x methods x lengths x prompts x seeds -> takes.

Owns the resolution of names and parameters and the rounding of lengths; generates nothing and writes nothing.
Raises here every error that is known before generation: a bad prompt, a bad parameter, missing weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.selection import EVERYTHING, Selection
from longtake.jobs.sweep.spec import MethodEntry, SweepConfig
from longtake.platform import plugins
from longtake.platform.errors import ConfigError, LongtakeError, NotPulledError, WeightsError
from longtake.platform.machine.process import collection_paused
from longtake.platform.machine.resources import STREAM, BankCapacity, Resources, gpu_count
from longtake.platform.plugins import NONE, Plugins
from longtake.platform.settings import config
from longtake.platform.store.root import OutputRoot
from longtake.platform.takes import Cell, MethodSpec, Take
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.addresses import OFF, default_uri, without_password

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
    prompts: list[str]
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
        return config.dump(
            replace(self.sweep, prompts=self.prompts, tracking=tracking, plugins=list(self.plugins.names))
        )


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


def prompts_of(sweep: SweepConfig, file: Path, missing: list[str] | None) -> list[str]:
    """The prompts. With a list for what is `missing`, stand-ins for those of a file that was not pulled yet, and a
    line in it. Raises ConfigError, NotPulledError."""
    try:
        return sweeps.read_prompts(sweep, file)
    except NotPulledError as error:
        if missing is None:
            raise
        prompts = sweeps.stand_in_prompts(sweep)
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


PinnedEntry = tuple[MethodEntry, dict[str, str]]
"""A method's entry with registered models as files, and their versions by `method.<parameter>.version`."""


def pin_models(entry: MethodEntry, sweep: SweepConfig, file: Path) -> PinnedEntry:
    """Resolves `models:/NAME@ALIAS` parameters to files, since an alias may change but the takes of a sweep may not."""
    params, versions = dict(entry.params), dict[str, str]()
    for key, value in entry.params.items():
        if isinstance(value, str) and value.startswith(model_registry.SCHEME):
            where = f"{file}: methods.{entry.label}.{key}"
            if sweep.tracking.uri == OFF:
                raise ConfigError(f"{where}: {value!r} needs a tracking store; set tracking.uri, or give a file")
            uri = sweep.tracking.uri or default_uri(Path(sweep.output))
            try:
                model = model_registry.resolve(value, uri, OutputRoot(sweep.output).models.absolute())
            except LongtakeError as error:
                raise ConfigError(f"{where}: {error}") from error
            params[key] = str(model.weights)
            versions[f"method.{key}.version"] = model.label
    return replace(entry, params=params), versions


def backbone_takes(
    name: str,
    sweep: SweepConfig,
    entries: list[PinnedEntry],
    prompts: list[str],
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
    if start >= min(frames for _, frames in lengths):
        raise ConfigError(f"{file}: prefix_s: {sweep.prefix_s:g} s leave nothing to generate; lower it")
    takes = []
    for entry, versions in entries:
        spec, method_fingerprint = resolve_method(entry, backbone, file, missing)
        fingerprint = tuple(sorted({**backbone_fingerprint, **method_fingerprint, **versions}.items()))
        takes += [
            Take(name, spec, seconds, frames, prompt, seed, start, fingerprint)
            for seconds, frames in lengths
            for prompt in prompts
            for seed in sweep.seeds
        ]
    return takes


def fingerprint_of(
    backbone: Any, missing: list[str] | None, precision: str | None, decode: str = STREAM
) -> dict[str, str]:
    """What a backbone's pixels depend on. With a list for what is `missing`, missing weights are a line in it."""
    from longtake.platform.generation import fingerprint

    try:
        return fingerprint.of_backbone(backbone, precision, decode)
    except WeightsError as error:
        if missing is None:
            raise
        missing.append(f"{backbone.spec.name} cannot run yet: {error}")
        return fingerprint.of_settings(backbone, precision, decode)


def find_backbone(name: str, file: Path) -> Any:
    from longtake.platform.backbones.base import backbones

    try:
        return backbones.get(name)
    except ConfigError as error:
        raise ConfigError(f"{file}: backbones: {error}") from error


def resolve_method(
    entry: MethodEntry, backbone: Any, file: Path, missing: list[str] | None = None
) -> tuple[MethodSpec, dict[str, str]]:
    """The method with all defaults, the backbone's window included, and its fingerprint: the sha256 of its weights, and
    its version if above 1. With a list for what is `missing`, weights that are not pulled are a line in it and are not
    in the fingerprint."""
    from longtake.platform.generation.fingerprint import of_method
    from longtake.platform.methods.base import methods

    try:
        kind = methods.get(entry.name)
    except ConfigError as error:
        raise ConfigError(f"{file}: methods: {error}") from error
    where = f"{file}: methods.{entry.label}"
    method = config.build(kind, entry.params, where)
    window = method.window_in(backbone.spec.window)
    fingerprint: dict[str, str] = {}
    try:
        method.check(window, backbone.spec.latent)
        method.budget(backbone.spec.frame)
        fingerprint = of_method(method)
    except (ConfigError, WeightsError) as error:
        if missing is None or not isinstance(error, NotPulledError):
            raise ConfigError(f"{where}: {error}") from error
        if (note := f"methods.{entry.label} cannot run yet: {error}") not in missing:
            missing.append(note)
    if method.needs_camera and not backbone.spec.has_camera:
        raise ConfigError(
            f"{where}: needs a world with a known camera; {backbone.spec.name} has none; remove the method"
        )
    params = asdict(method) | {"window": window.size, "sink": window.sink}  # type: ignore[call-overload]
    for key in {name.removeprefix("method.") for name in fingerprint} & params.keys():
        if os.path.exists(str(params[key])):  # workers have folders of their own
            params[key] = str(Path(params[key]).absolute())
    return MethodSpec(entry.name, entry.label, params), fingerprint


def check_prompts(backbone: Any, prompts: list[str], file: Path) -> None:
    for number, prompt in enumerate(prompts, 1):
        try:
            backbone.check_prompt(prompt)
        except ConfigError as error:
            raise ConfigError(f"{file}: prompt {number}: {error}") from error


def check_seeds(backbone: Any, seeds: list[int], file: Path) -> None:
    for seed in seeds:
        try:
            backbone.check_seed(seed)
        except ConfigError as error:
            raise ConfigError(f"{file}: seeds: {error}") from error


def find_suites(sweep: SweepConfig, file: Path, notes: list[str], need_weights: bool) -> list[SuiteEntry]:
    """The sweep's suites, with the hashes of their weights. Raises ConfigError, WeightsError."""
    from longtake.jobs.workers.scoring import with_weights

    entries = []
    for entry in sweep.suite_entries():
        try:
            suite = entry.open()
        except ConfigError as error:
            raise ConfigError(f"{file}: suites: {error}") from error
        if suite.of_folders():
            names = ", ".join(suite.of_folders())
            raise ConfigError(f"{file}: suites.{entry.label}: {names}: only for folders (longtake eval); remove it")
        if suite.networks() and not sweep.workers.gpus_per_evaluator:
            notes.append(f"suites.{entry.label}: its networks run on CPUs; for a GPU set workers.gpus_per_evaluator=1")
        try:
            entries.append(with_weights(entry))
        except WeightsError as error:
            if need_weights:
                raise WeightsError(f"{file}: suites: {error}") from error
            notes.append(f"suites.{entry.label}: {error}")
            entries.append(entry)
    return entries


def rounded_frames(key: str, seconds: float, spec: Any, notes: list[str]) -> int:
    """Latent frames for a duration, rounded up to whole blocks. Adds to `notes` if that changes the length."""
    exact = seconds * spec.latent_fps
    blocks = math.ceil(exact / spec.frames_per_block - 1e-9)
    frames = blocks * spec.frames_per_block
    if abs(frames - exact) > 1e-6:
        note = (
            f"{key}: {seconds:g} s is not a whole number of blocks ({spec.frames_per_block} latent frames at "
            f"{spec.latent_fps:g} a second); rounded up to {frames / spec.latent_fps:g} s ({frames} latent frames)"
        )
        if note not in notes:
            notes.append(note)
    return frames


def check_unique(takes: list[Take], file: Path) -> None:
    """Raises ConfigError for two takes with the same pixels: they would be generated once but counted twice."""
    seen: dict[str, Take] = {}
    for take in takes:
        if take.id in seen:
            raise ConfigError(
                f"{file}: methods: {seen[take.id].method.label!r} and {take.method.label!r} have the same "
                f"parameters; remove one"
            )
        seen[take.id] = take
