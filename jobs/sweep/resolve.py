"""The parts that a sweep names, resolved: backbones, methods with all their parameters, suites with their weights.

Raises what is wrong with them as one line that names the file and the key. Makes no take.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.sweep import prompts as sweep_prompts
from longtake.jobs.sweep.spec import MethodEntry, SweepConfig
from longtake.platform.errors import ConfigError, LongtakeError, NotPulledError, WeightsError
from longtake.platform.machine.resources import STREAM
from longtake.platform.prompts import Prompt, Switch
from longtake.platform.settings import config
from longtake.platform.store.root import OutputRoot
from longtake.platform.takes import MethodSpec
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.addresses import OFF, default_uri

BUDGET_TOLERANCE = 0.01
"""In frames."""

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
    entry: MethodEntry,
    backbone: Any,
    file: Path,
    missing: list[str] | None = None,
    budget: int | None = None,
    notes: list[str] | None = None,
) -> tuple[MethodSpec, dict[str, str]]:
    """The method with all defaults, the backbone's window included, and its fingerprint: the sha256 of its weights, and
    its version if above 1. With a list for what is `missing`, weights that are not pulled are a line in it and are not
    in the fingerprint. With a `budget`, as many frames are attended in all; a method that cannot is a line in `notes`
    and stays as published."""
    from longtake.platform.generation.fingerprint import of_method
    from longtake.platform.methods.base import methods

    try:
        kind = methods.get(entry.name)
    except ConfigError as error:
        raise ConfigError(f"{file}: methods: {error}") from error
    where = f"{file}: methods.{entry.label}"
    params = entry.params if budget is None else budgeted(kind, entry, budget, backbone.spec, where, notes)
    method = config.build(kind, params, where)
    window = method.window_in(backbone.spec.window)
    fingerprint: dict[str, str] = {}
    try:
        method.check(window, backbone.spec.latent)
        check_budget(method.attended(window, backbone.spec.network), budget, params is entry.params)
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


def budgeted(
    kind: Any, entry: MethodEntry, frames: int, spec: Any, where: str, notes: list[str] | None
) -> dict[str, Any]:
    """The entry's parameters, and beside them those with which the method attends so many frames. A method without
    such settings keeps its own, and is a line in `notes`."""
    published = config.build(kind, {}, where)
    try:
        asked = published.at_budget(frames)
        check_budget(asked.attended(asked.window_in(spec.window), spec.network), frames, as_published=False)
        changed = {one.name: getattr(asked, one.name) for one in fields(asked)}
        changed = {name: value for name, value in changed.items() if value != getattr(published, name)}
        merged = config.build(kind, changed | entry.params, where)
        merged.check(merged.window_in(spec.window), spec.latent)
    except ConfigError as error:
        as_is = "given" if entry.params else "published"
        note = f"methods.{entry.label}: budget: {frames} does not apply, it attends as {as_is}: {error}"
        if notes is not None and note not in notes:
            notes.append(note)
        return entry.params
    return changed | entry.params


def check_budget(attended: float | None, budget: int | None, as_published: bool) -> None:
    """Raises ConfigError if the entry's own parameters make a method attend another number of frames."""
    if budget is not None and not as_published and (attended is None or abs(attended - budget) > BUDGET_TOLERANCE):
        seen = "every frame" if attended is None else f"{attended:.3g} frames"
        raise ConfigError(f"attends {seen}, but the budget is {budget}; leave out window, or remove budget")


def check_prompts(backbone: Any, prompts: list[Prompt], file: Path) -> None:
    for number, prompt in enumerate(prompts, 1):
        try:
            for text in prompt.texts:
                backbone.check_prompt(text)
            backbone.check_parts(prompt)
        except ConfigError as error:
            raise ConfigError(f"{file}: prompt {number}: {error}") from error


def switches_of(
    prompts: list[Prompt], spec: Any, shortest: tuple[int, int], prefix_frames: int, file: Path
) -> list[tuple[Prompt, tuple[Switch, ...]]]:
    """Each prompt with its switches in takes of the backbone. `shortest`: seconds and latent frames of the shortest."""
    timed = []
    for number, prompt in enumerate(prompts, 1):
        try:
            timed.append((prompt, sweep_prompts.switches_of(prompt, spec, shortest, prefix_frames)))
        except ConfigError as error:
            raise ConfigError(f"{file}: prompt {number}: {error}") from error
    return timed


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
