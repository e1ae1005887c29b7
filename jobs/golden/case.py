"""Finds and reads golden cases: NAME.json with NAME.safetensors (format: tests/golden/README.md).

A folder may hold other files, such as weights. A file that is, or was, part of a case is never passed over: if it is
damaged, or its other half is missing, reading it raises an error.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.platform.checkpoints.files import header_shapes, load_safetensors, read_json
from longtake.platform.errors import ConfigError, WeightsError

KINDS: Mapping[str, type] = {"config": dict, "arch": dict, "blocks": list, "weights": str, "batch": int}
"""What the JSON of every case has."""
MARKS = {"case", "blocks", "num_frames", "prompts"}
"""Keys that only the JSON of a case has."""
TENSORS = {"noise", "prompt_embeds", "output"}
"""What the safetensors of every case have; the network's weights beside them have none of these."""


@dataclass(frozen=True)
class Case:
    """`facts`: the JSON, whose `blocks` are objects; `tensors`: by name."""

    path: Path
    facts: dict[str, Any]
    tensors: dict[str, Tensor]


def case_files(folder: Path) -> list[Path]:
    """The .json of every case, also where it is missing or cannot be read. ConfigError if there is none."""
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder}: is not a folder; give a folder of golden cases (NAME.json with NAME.safetensors)")
    found = {path: facts_of(path) for path in folder.glob("*.json")}
    named = {(folder / name).resolve() for facts in found.values() for name in weights_of(facts)}
    alone = [path for path in folder.glob("*.safetensors") if path.with_suffix(".json") not in found]
    cases = [path for path, facts in found.items() if facts is None or MARKS & facts.keys() or holds_a_case(path)]
    cases += [p.with_suffix(".json") for p in alone if p.resolve() not in named and holds_a_case(p, if_damaged=True)]
    if not cases:
        raise ConfigError(f"{folder}: contains no golden case (NAME.json with `blocks`, beside NAME.safetensors)")
    return sorted(cases)


def facts_of(path: Path) -> dict[str, Any] | None:
    """The JSON; None if it cannot be read."""
    try:
        return read_json(path)
    except WeightsError:
        return None


def weights_of(facts: Mapping[str, Any] | None) -> list[str]:
    """The files of weights that a case names."""
    config = (facts or {}).get("config")
    named = [(facts or {}).get("weights"), config.get("ae_weights") if isinstance(config, dict) else None]
    return [name for name in named if isinstance(name, str)]


def holds_a_case(path: Path, if_damaged: bool = False) -> bool:
    """Whether the .safetensors of this name has noise and output. `if_damaged`: what to say if it cannot be read."""
    try:
        return header_shapes(path.with_suffix(".safetensors"), str).keys() >= {"noise", "output"}
    except WeightsError:
        return if_damaged


def read_case(path: Path) -> Case:
    """Reads both files. Raises WeightsError if one cannot be read, and ConfigError if they are not a whole case."""
    facts = read_json(path)
    for key, kind in KINDS.items():
        if not isinstance(facts.get(key), kind):
            given = "missing" if key not in facts else f"of type {type(facts[key]).__name__}"
            raise ConfigError(f"{path}: {key} is {given}; a case has it as {kind.__name__}; record the case again")
    blocks, tensors = facts["blocks"], load_safetensors(path.with_suffix(".safetensors"))
    if not blocks or not all(isinstance(block, dict) for block in blocks):
        raise ConfigError(f"{path}: blocks must be a list of objects, one a block; record the case again")
    listed = facts.get("tensors")
    listed = listed if isinstance(listed, dict) else {}
    if missing := sorted({*TENSORS, *listed} - tensors.keys()):
        raise ConfigError(f"{path.with_suffix('.safetensors')}: has no {', '.join(missing)}; record the case again")
    for name, told in listed.items():
        if told.get("shape", [*tensors[name].shape]) != [*tensors[name].shape]:
            raise ConfigError(f"{path}: tensors.{name} is of shape {told['shape']}, not {[*tensors[name].shape]}")
    check_length(path, facts, tensors)
    check_sizes(path, facts, tensors)
    return Case(path, facts, tensors)


def check_length(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raises ConfigError unless blocks, `num_frames` and tensors tell of as many frames, and prompts of the blocks'."""
    size = facts["config"].get("num_frame_per_block", 0)
    frames = len(facts["blocks"]) * size
    lengths = {name: tensors[name].shape[1] if tensors[name].ndim > 1 else 0 for name in ("noise", "output")}
    lengths["num_frames"] = facts.get("num_frames", frames)
    for prompt in facts.get("prompts", []):
        if prompt.get("frame", prompt["block"] * size) != prompt["block"] * size:
            raise ConfigError(f"{path}: prompts: block {prompt['block']} begins at frame {prompt['block'] * size}")
    for name, length in lengths.items():
        if length != frames:
            raise ConfigError(f"{path}: blocks are of {frames} frames in all, {name} of {length}; record it again")


def check_sizes(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raises ConfigError unless noise and output have the rows and the latent frames that the JSON says."""
    arch = facts["arch"]
    told = (facts["batch"], *(arch.get(key) for key in ("in_dim", "latent_height", "latent_width")))
    for name in ("noise", "output"):
        shape = tuple(tensors[name].shape)
        if (shape[0], *shape[2:]) != told:
            rule = "batch, arch.in_dim, arch.latent_height, arch.latent_width"
            raise ConfigError(f"{path}: {name} is {shape}; {rule} say {told}; record the case again")
