"""A corpus spec: its schema, its rules, and the takes that it expands to, sampled by a backbone or imported from files.

Owns the format and the meaning of a spec; samples nothing and writes nothing. The code of sweeps reads the shared parts
(prompts, method, workers): a corpus is a sweep of one cell and seed that keeps latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from longtake.jobs.corpus import imports
from longtake.jobs.sweep import prompts as sweep_prompts
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.grid import Grid, checked
from longtake.jobs.sweep.resolve import (
    check_prompts,
    check_seeds,
    find_backbone,
    fingerprint_of,
    resolve_method,
    rounded_frames,
)
from longtake.jobs.sweep.spec import (
    SweepConfig,
    WorkersConfig,
    check_output,
    check_range,
    check_sweep_name,
    read_method,
)
from longtake.platform import plugins
from longtake.platform.corpus.records import DTYPES
from longtake.platform.errors import ConfigError
from longtake.platform.plugins import NONE, Plugins
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import config
from longtake.platform.settings.paths import FilePath
from longtake.platform.takes import Take


@dataclass(frozen=True)
class CorpusConfig:
    """A corpus: latents of one backbone and method for every prompt, or of the files in the folder `latents`, made by
    `backbone` if that is given. The first `prefix_s` seconds of each take are real frames of the world."""

    name: str
    backbone: str | None = None
    method: Any = "native"
    seconds: float = 22.5
    prompts: Any = None
    seed: int = 0
    prefix_s: float = field(default=0.0, metadata={"was": "start_s"})
    latents: FilePath | None = None
    dtype: str = "bf16"
    shard_takes: int = 16
    output: FilePath = "runs"
    plugins: list[FilePath] = field(default_factory=list)
    workers: WorkersConfig = field(default_factory=WorkersConfig)

    def __post_init__(self) -> None:
        check_sweep_name("name", self.name)
        check_output(self.output)
        check_range("seconds", self.seconds, 0.05, sweeps.MAX_SECONDS)
        check_range("seed", self.seed, 0, 2**31 - 1)
        check_range("prefix_s", self.prefix_s, 0, sweeps.MAX_SECONDS)
        check_range("shard_takes", self.shard_takes, 1, 4096)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype: unknown type {self.dtype!r}; {did_you_mean(self.dtype, [*DTYPES])}")
        if self.latents is not None:
            if not self.latents or self.prompts is not None:
                raise ConfigError("latents: a folder of latent_*.pt has no prompts; give latents or prompts, not both")
            return
        if self.backbone is None:
            raise ConfigError("backbone: is missing; set backbone, or latents (a folder of latent_*.pt to import)")
        if self.prefix_s >= self.seconds:
            raise ConfigError(f"prefix_s: {self.prefix_s:g} of {self.seconds:g} s leave nothing to generate; lower it")
        sweep_prompts.check_key(self.prompts)
        read_method("method", self.method)


@dataclass(frozen=True)
class CorpusPlan:
    """The takes of a spec in its order, the shape of a frame, and `notes` on adjusted settings. `grid` is the sweep of
    one cell that makes the takes; None if they are imported."""

    spec: CorpusConfig
    takes: list[Take]
    latent: tuple[int, int, int]
    notes: list[str]
    grid: Grid | None = None

    @property
    def spec_yaml(self) -> str:
        """The resolved spec with the list of its prompts."""
        prompts = [prompt.text for prompt in self.grid.prompts] if self.grid else None
        return config.dump(replace(self.spec, prompts=prompts, plugins=list(self.plugins.names)))

    @property
    def plugins(self) -> Plugins:
        return self.grid.plugins if self.grid else NONE


def load(file: str | Path, overrides: Sequence[str] = ()) -> CorpusConfig:
    """The spec after `key=value` overrides. Raises ConfigError that names the file and the key."""
    return config.load(file, CorpusConfig, [*sweeps.place_overrides(file), *overrides])


def expand(file: str | Path, overrides: Sequence[str] = ()) -> CorpusPlan:
    """Read, check and expand a spec. Raises ConfigError (file, key, value, rule) or WeightsError."""
    file = Path(file)
    spec = load(file, overrides)
    return imported_plan(spec, file) if spec.latents is not None else generated_plan(spec, file)


def imported_plan(spec: CorpusConfig, file: Path) -> CorpusPlan:
    assert spec.latents is not None
    takes, latent = imports.find(Path(spec.latents), spec.backbone or imports.IMPORTED)
    if spec.backbone is not None:
        expected = find_backbone(spec.backbone, file).spec.latent
        if expected != latent:
            raise ConfigError(
                f"{spec.latents}: has frames {list(latent)}, but backbone {spec.backbone!r} makes {list(expected)}; "
                "give the backbone that made them, or none"
            )
    return CorpusPlan(spec, takes, latent, [])


def generated_plan(spec: CorpusConfig, file: Path) -> CorpusPlan:
    assert spec.backbone is not None
    loaded = plugins.load(spec.plugins, file)
    backbone, sweep, notes = find_backbone(spec.backbone, file), as_sweep(spec), list[str]()
    prompts = sweep_prompts.read_prompts(spec.prompts, file)
    if timed := next((prompt for prompt in prompts if prompt.later), None):
        raise ConfigError(f"{file}: prompts: {str(timed)!r:.80} changes with time; a corpus has plain prompts only")
    check_prompts(backbone, prompts, file)
    check_seeds(backbone, [spec.seed], file)
    if spec.prefix_s and not backbone.spec.provides_prefix:
        raise ConfigError(f"{file}: prefix_s: {spec.backbone} has no real frames to start from; set prefix_s to 0")
    frames = rounded_frames("seconds", spec.seconds, backbone.spec, notes)
    start = rounded_frames("prefix_s", spec.prefix_s, backbone.spec, notes) if spec.prefix_s else 0
    if start >= frames:
        raise ConfigError(f"{file}: prefix_s: {spec.prefix_s:g} s leaves nothing to generate; lower it")
    method, method_prints = resolve_method(read_method("method", spec.method), backbone, file)
    prints = fingerprint_of(backbone, None, spec.workers.precision)
    fingerprint = tuple(sorted({**prints, **method_prints}.items()))
    seconds = sweep.lengths_s[0]
    takes = [Take(spec.backbone, method, seconds, frames, one.text, spec.seed, start, fingerprint) for one in prompts]
    return CorpusPlan(
        spec, takes, backbone.spec.latent, notes, checked(Grid(sweep, file, prompts, takes, [], notes, loaded))
    )


def as_sweep(spec: CorpusConfig) -> SweepConfig:
    """The sweep of one cell with the prompts and workers of the corpus."""
    return SweepConfig(
        spec.name,
        [str(spec.backbone)],
        [spec.method],
        [math.ceil(spec.seconds)],
        spec.prompts,
        [spec.seed],
        prefix_s=spec.prefix_s,
        output=spec.output,
        workers=spec.workers,
    )
