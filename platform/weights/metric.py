"""Converts the published weights of metrics: one state dict under the published names, float16 widened to float32.

DreamSim's ensemble becomes one state dict of three parts: `clip.<name>` and `open_clip.<name>`, the towers in DINO's
layout with their projections, and `lora.<name>`, the adapter, whose settings become a JSON file.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.checkpoints.files import sha256
from longtake.platform.checkpoints.pickles import published_state
from longtake.platform.errors import WeightsError
from longtake.platform.weights.archive import member
from longtake.platform.weights.entries import Pickle
from longtake.platform.weights.vbench import ADAPTER_CONFIG

if TYPE_CHECKING:
    from torch import Tensor

PARALLEL = "module."
"""The prefix that torch's DataParallel adds to every name."""
TOWERS = {"clip": "clip_vitb16_pretrain.pth.tar", "open_clip": "open_clip_vitb16_pretrain.pth.tar"}
LORA = "ensemble_lora"
ADAPTER_KEYS = ("r", "lora_alpha", "target_modules")


def metric_weights(source: Path, pickle: Pickle) -> "tuple[dict[str, Tensor], dict[str, Any] | None]":
    """The state dict, and the content of the JSON file beside it, or None. Raises WeightsError."""
    if pickle.layout == "dreamsim":
        return dreamsim(source)
    if pickle.layout == "torchscript":
        from longtake.platform.weights.torchscript import tensors

        weights = tensors(source, pickle.prefix)
    elif pickle.member:
        with member(source, pickle.member) as file:
            check_member(file, source, pickle)
            weights = published_state(file, pickle.keys)
    else:
        weights = published_state(source, pickle.keys)
    return widened(plain(weights)), None


def check_member(file: Path, source: Path, pickle: Pickle) -> None:
    digest = sha256(file)
    if not digest.startswith(pickle.member_sha256):
        raise WeightsError(
            f"{source}: its {pickle.member} has sha256 {digest[:12]}, not {pickle.member_sha256[:12]}; fetch it again"
        )


def dreamsim(source: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from longtake.platform.checkpoints.files import opened

    weights: dict[str, Tensor] = {}
    for part, name in TOWERS.items():
        with member(source, name) as file:
            state = published_state(file, ("state_dict",))
        weights |= {f"{part}.{key}": value for key, value in state.items()}
    with member(source, f"{LORA}/adapter_model.safetensors") as file, opened(file) as lora:
        weights |= {f"lora.{key}": lora.get_tensor(key) for key in lora.keys()}  # noqa: SIM118  the file is not a dict
    return widened(weights), adapter_config(source)


def adapter_config(source: Path) -> dict[str, Any]:
    name = f"{LORA}/{ADAPTER_CONFIG}"
    with member(source, name, limit=1 << 20) as file:
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeightsError(f"{source}: {name} is not valid JSON ({error}); fetch it again") from error
    missing = [key for key in ADAPTER_KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise WeightsError(f"{source}: {name} has no {missing[0]}; fetch it again")
    return dict(config)


def plain(weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The weights without DataParallel's prefix, if all names have it."""
    if not all(name.startswith(PARALLEL) for name in weights):
        return weights
    return {name.removeprefix(PARALLEL): value for name, value in weights.items()}


def widened(weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
    import torch

    return {name: value.float() if value.dtype == torch.float16 else value for name, value in weights.items()}
