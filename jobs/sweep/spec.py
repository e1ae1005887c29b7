"""A sweep file: its schema and its rules.

Owns the keys of a sweep file; does not depend on backbones, store paths or clusters. Every rule that needs only the
file is checked here, so that a bad file fails before heavy libraries are imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry, suite_entries
from longtake.jobs.sweep import prompts
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import STREAM, BankCapacity, check_decode, check_precision
from longtake.platform.names import check_name
from longtake.platform.printable import is_text
from longtake.platform.settings import config
from longtake.platform.settings.entries import read_entries, read_entry
from longtake.platform.settings.paths import FilePath
from longtake.platform.store.root import RESERVED, place_of_spec
from longtake.platform.workers.fleet import DRAIN_SECONDS, Patience

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
MAX_SECONDS = 3600
DAY = 86400


@dataclass(frozen=True)
class MethodEntry:
    """One entry of `methods`: a registered name, its parameters as written, and its label."""

    name: str
    label: str
    params: dict[str, Any]


@dataclass(frozen=True)
class TrackingConfig:
    """Tracking. `uri`: null is sqlite under `output`; `disabled` turns tracking off. `experiment`: null is `name`."""

    uri: FilePath | None = None
    experiment: str | None = None


@dataclass(frozen=True)
class WorkersConfig:
    """Number of workers, where they run, and their resources. Only `precision: fp8` is part of a take's identity.

    `auto` is computed from the nodes of the cluster.
    """

    samplers: Any = "auto"
    evaluators: Any = "auto"
    gpus_per_sampler: Any = "auto"
    cluster: str = "local"  # local, inline, or the address of a running Ray cluster
    batch: Any = "auto"
    families: bool = True
    device: str = "auto"
    decode_device: str | None = None
    compile: bool = False
    precision: str | None = None
    bank: BankCapacity = field(default_factory=BankCapacity)
    attention_shares: bool = False
    gpus_per_evaluator: float = 0.0
    evaluator_parts: int = 1
    evaluator_python: FilePath | None = None
    evaluator_image: str | None = None
    stall_seconds: Any = "auto"
    drain_seconds: float = DRAIN_SECONDS

    @property
    def patience(self) -> Patience:
        """The patience with a sampler, whose steps are blocks."""
        return Patience(step_seconds=None if self.stall_seconds == "auto" else float(self.stall_seconds))

    @property
    def gpus_named(self) -> int:
        """Number of GPUs that the named devices require: cuda:1 requires two."""
        names = [name for name in (self.device, self.decode_device) if name and name.startswith("cuda")]
        return max((int(name.partition(":")[2] or 0) + 1 for name in names), default=0)

    def __post_init__(self) -> None:
        for key in ("samplers", "evaluators", "batch"):
            value = getattr(self, key)
            if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(f"workers.{key}: {value!r} is not 'auto' or a whole number from 1")
        gpus = self.gpus_per_sampler
        if gpus != "auto" and (not isinstance(gpus, int | float) or isinstance(gpus, bool) or not 0 <= gpus <= 64):
            raise ConfigError(f"workers.gpus_per_sampler: {gpus!r} is not 'auto' or a number from 0 to 64")
        if not 0 <= self.gpus_per_evaluator <= 64:
            raise ConfigError(f"workers.gpus_per_evaluator: {self.gpus_per_evaluator:g} is not a number from 0 to 64")
        if not 1 <= self.evaluator_parts <= 64:
            raise ConfigError(f"workers.evaluator_parts: {self.evaluator_parts} is not a whole number from 1 to 64")
        if self.evaluator_python and self.evaluator_image:
            raise ConfigError("workers.evaluator_python: an image has its own Python; set only one of the two")
        stall = self.stall_seconds
        if stall != "auto" and (not isinstance(stall, int | float) or isinstance(stall, bool) or not 1 <= stall <= DAY):
            raise ConfigError(f"workers.stall_seconds: {stall!r} is not 'auto' or a number from 1 to {DAY}")
        if not 0 <= self.drain_seconds <= DAY:
            raise ConfigError(f"workers.drain_seconds: {self.drain_seconds:g} is not a number from 0 to {DAY}")
        for key in ("device", "decode_device"):
            value = getattr(self, key)
            if value is not None and not DEVICE.fullmatch(value):
                raise ConfigError(f"workers.{key}: {value!r} is not auto, cpu, cuda or cuda:N")
        check_precision(self.precision)
        if gpus != "auto" and gpus < self.gpus_named:
            raise ConfigError(
                f"workers.gpus_per_sampler: {gpus:g} is too few for the devices; set {self.gpus_named} or auto"
            )
        if not self.cluster:
            raise ConfigError("workers.cluster: is empty; write local, inline or the address of a Ray cluster")
        for key in ("evaluator_python", "evaluator_image"):
            if getattr(self, key) and self.cluster == "inline":
                raise ConfigError(f"workers.{key}: needs separate worker processes; set workers.cluster to local")


@dataclass(frozen=True)
class SweepConfig:
    """One experiment: every backbone x method x length x prompt x seed is a take. The first `prefix_s` seconds of each
    take are real frames of the world rather than generated; they are part of its length. `decode`: `published` decodes
    like the scripts of LongLive-RAG, with their seams. `budget`: latent frames that a block attends in all, its own
    included, under every method that can be set so; null: as each method says."""

    name: str
    backbones: list[str]
    methods: list[Any]
    lengths_s: list[int]
    prompts: Any
    seeds: list[int] = field(default_factory=lambda: [0])
    suites: list[Any] = field(default_factory=lambda: ["classical"])
    plugins: list[FilePath] = field(default_factory=list)
    prefix_s: float = field(default=0.0, metadata={"was": "start_s"})
    decode: str = STREAM
    budget: int | None = None
    output: FilePath = "runs"
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)

    def __post_init__(self) -> None:
        check_sweep_name("name", self.name)
        for key in ("backbones", "methods", "lengths_s", "seeds", "suites"):
            check_list(key, getattr(self, key))
        for seconds in self.lengths_s:
            check_range("lengths_s", seconds, 1, MAX_SECONDS)
        for seed in self.seeds:
            check_range("seeds", seed, 0, 2**31 - 1)
        check_range("prefix_s", self.prefix_s, 0, MAX_SECONDS)
        if self.prefix_s >= min(self.lengths_s):
            raise ConfigError(
                f"prefix_s: {self.prefix_s:g} leaves nothing of {min(self.lengths_s)} s to generate; lower it"
            )
        if self.budget is not None:
            check_range("budget", self.budget, 4, 10_000)
        check_output(self.output)
        check_decode(self.decode)
        self.method_entries()
        self.suite_entries()
        prompts.check_key(self.prompts)

    def method_entries(self) -> list[MethodEntry]:
        """The entries of `methods`, in order. Raises ConfigError for a bad entry or a repeated label."""
        return [MethodEntry(*parts) for parts in read_entries("methods", self.methods, "method")]

    def suite_entries(self) -> list[SuiteEntry]:
        """The entries of `suites`, in order. Raises ConfigError for a bad entry or a repeated label."""
        return suite_entries(self.suites)


def load(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """Load the sweep file with `key=value` overrides. Raises ConfigError with the file and the key."""
    return config.load(path, SweepConfig, [*place_overrides(path), *overrides])


def place_overrides(path: str | Path) -> list[str]:
    """For the resolved file of a store, which may have been moved or copied: its output folder and name are those of
    the store that it lies in."""
    place = place_of_spec(Path(path))
    return [f"output={json.dumps(str(place[0]))}", f"name={json.dumps(place[1])}"] if place else []


def check_sweep_name(key: str, value: str) -> None:
    """Raises ConfigError if `value` cannot be the name of a sweep's folder under `output`."""
    if check_name(key, value) in RESERVED:
        raise ConfigError(f"{key}: {value!r} is reserved for Longtake's files under output; choose another name")


def check_list(key: str, values: list[Any]) -> None:
    if not values:
        raise ConfigError(f"{key}: is empty; give at least one")
    seen: set[str] = set()
    for value in values:
        if repr(value) in seen:
            raise ConfigError(f"{key}: {value!r} is listed twice; remove one")
        seen.add(repr(value))


def check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{key}: {value:g} is not from {low:g} to {high:g}")


def check_output(output: str) -> None:
    if not output:
        raise ConfigError("output: is empty; give a folder for the results, such as runs")
    if "://" in output:
        raise ConfigError(f"output: {output!r} is a URL; the store needs a folder; mount it and give the folder")
    if not is_text(str(Path(output).absolute())):
        raise ConfigError(f"output: {Path(output).absolute()} is not UTF-8, which records need; give another folder")


def read_method(key: str, entry: Any) -> MethodEntry:
    return MethodEntry(*read_entry(key, entry, "method"))
