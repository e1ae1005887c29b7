"""The embedder's loss against golden numbers, and by hand.

Tolerance of golden losses and gradients: 1e-5 of their size. They are float32 sums over up to 36,000 numbers, whose
order a library may change; a wrong term, eps or weight moves them by more than 1e-3.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from longtake.platform.errors import ConfigError
from longtake.platform.models.embedder import LatentAutoencoder
from longtake.platform.models.spec import EmbedderSpec
from longtake.trainers.losses import LossConfig, embedder_loss, smoothness, window_delta

GOLDEN = Path(__file__).parents[1] / "golden"
FACTS = json.loads((GOLDEN / "ae_losses.json").read_text())
NEAR = {"rel": 1e-5, "abs": 1e-6}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "ae_losses.safetensors")


@pytest.fixture
def model(tensors: dict[str, Tensor]) -> LatentAutoencoder:
    sizes = FACTS["config"]
    model = LatentAutoencoder(EmbedderSpec(**sizes | {"hidden_dims": tuple(sizes["hidden_dims"])}))
    model.load_state_dict(part(tensors, "weights."))
    return model


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("case", FACTS["losses"])
def test_golden_losses(case, model, tensors):
    facts = FACTS["losses"][case]
    config = LossConfig(**{key: facts[key] for key in LossConfig.__dataclass_fields__})
    found = embedder_loss(model, tensors["chunk_" + case.split("/")[0]][:, : facts["S"]], config)
    for name in ("recon", "delta", "smooth", "total"):
        assert getattr(found, name).item() == pytest.approx(facts[name], **NEAR), name


def test_golden_gradients(model, tensors):
    embedder_loss(model, tensors["chunk_drift"], LossConfig()).total.backward()
    golden = part(tensors, "grad.")
    parameters = dict(model.named_parameters())
    assert golden
    for name, gradient in golden.items():
        found = parameters[name].grad
        assert (found - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm.item() == pytest.approx(FACTS["grad_norm_default_drift"], rel=1e-5)


def test_golden_training(model, tensors):
    """AdamW divides by each gradient's own size, so roundings of tiny ones grow with every step: 1e-4."""
    facts = FACTS["adamw"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=facts["lr"], weight_decay=facts["weight_decay"])
    for golden in facts["trajectory"]:
        found = embedder_loss(model, tensors[facts["chunk"]], LossConfig())
        assert [found.total.item(), *(one.item() for one in found)] == pytest.approx(golden, rel=1e-4)
        optimizer.zero_grad()
        found.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), facts["clip"])
        optimizer.step()


def test_terms_by_hand():
    """Frames (3,0), (3,0), (0,4), (0,4): neighbours have cosines 1, 0, 1, those two apart 0, 0.

    margin .5, window 2, weight 2: mean relu of 1 apart = (.5+0+.5)/3, of 2 apart 0; 2 * (1/3 + 0) / 2 = 1/3.
    Second differences (-3,4) and (3,-4), length 5 each.
    """
    path = torch.tensor([[[3.0, 0], [3, 0], [0, 4], [0, 4]]])
    assert window_delta(path, LossConfig(margin=0.5, window=2, delta_weight=2)).item() == pytest.approx(1 / 3)
    assert smoothness(path, LossConfig(smooth_weight=0.5)).item() == pytest.approx(2.5)


def test_one_frame_has_no_path():
    path = torch.ones(2, 1, 4)
    assert window_delta(path, LossConfig()).item() == 0
    assert smoothness(path, LossConfig()).item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_reduced_in_float32(dtype, model, tensors):
    """1e-2: bf16 keeps 8 bits of each embedding; a bf16 mean alone would be off by up to 4e-3 and have its dtype."""
    full = embedder_loss(model, tensors["chunk_drift"], LossConfig())
    found = embedder_loss(model.to(dtype), tensors["chunk_drift"], LossConfig())
    for half, exact in zip(found, full, strict=True):
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("margin", 1.5),
        ("margin", float("nan")),
        ("delta_weight", -1),
        ("smooth_weight", float("inf")),
        ("window", 0),
    ],
)
def test_ranges(key, value):
    with pytest.raises(ConfigError, match=f"loss.{key} = .*must be"):
        LossConfig(**{key: value})
