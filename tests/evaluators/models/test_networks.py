"""Every network answers what the official one answers with the same weights (tests/golden/vbench/networks.json)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from longtake.evaluators.models.base import load, networks
from tests.evaluators.models.conftest import weights_for
from tests.parity.answers import centred, picture, sample

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "vbench" / "networks.json").read_text(encoding="utf-8"))
ASK: dict[str, Callable[[Any], Tensor]] = {
    "dino": lambda network: network(centred(2, 224, 400)),
    "dino, nearly square": lambda network: network(centred(1, 224, 239)),
    "dinov2": lambda network: network(centred(2, 224, 224)),
    "clip-b": lambda network: network(centred(2, 224, 224)),
    "clip-l": lambda network: network(centred(1, 224, 224)),
    "aesthetic": lambda network: network(nn.functional.normalize(centred(1, 2, 768)[0, 0])),
    "musiq": lambda network: network(picture(1, 120, 200) / 255)[:, None],
    "amt": lambda network: network(*(picture(2, 128, 160) / 255).chunk(2)),
    "raft": lambda network: network(*picture(2, 136, 200).chunk(2)),
    "dreamsim": lambda network: network(picture(2, 224, 224) / 255),
}


def test_every_network_has_an_official_answer() -> None:
    assert {case.partition(",")[0] for case in ASK} == set(networks.names())
    assert set(ASK) == GOLDEN.keys() - {"provenance"}


@pytest.mark.parametrize("case", ASK)
@torch.inference_mode()
def test_it_answers_as_the_official_network_does(case: str, seeded_network: Callable[[str], nn.Module]) -> None:
    """Within 1e-5 of the root mean square: another attention kernel moves a transformer by up to 3.2e-6 of it."""
    golden, got = GOLDEN[case], ASK[case](seeded_network(case.partition(",")[0]))
    assert list(got.shape) == golden["shape"]
    tolerance = 1e-5 * golden["norm"] / math.sqrt(got.numel())
    assert sample(got) == pytest.approx(golden["values"], rel=0, abs=tolerance)
    assert float(got.double().norm()) == pytest.approx(golden["norm"], rel=1e-6)


@torch.inference_mode()
def test_a_batch_answers_as_its_frames_one_by_one(seeded_network: Callable[[str], nn.Module]) -> None:
    frames = picture(3, 120, 200) / 255
    musiq = seeded_network("musiq")
    one_by_one = torch.cat([musiq(frame[None]) for frame in frames])
    assert musiq(frames).shape == (3,)
    assert torch.allclose(musiq(frames), one_by_one, rtol=2e-6)
    assert float(one_by_one.std()) > 0.1

    frames = picture(3, 128, 160) / 255
    amt = seeded_network("amt")
    pairs = [amt(frames[i : i + 1], frames[i + 1 : i + 2]) for i in range(2)]
    assert torch.allclose(amt(frames[:-1], frames[1:]), torch.cat(pairs), rtol=0, atol=4e-6)


@torch.inference_mode()
def test_positions_are_kept_per_size(seeded_network: Callable[[str], nn.Module]) -> None:
    dino: Any = seeded_network("dino")
    first = dino.positions(14, 25, False)
    assert first.shape == (1, 1 + 14 * 25, 768)
    assert dino.positions(14, 25, False) is first
    assert dino.positions(14, 14, True) is dino.vit.pos_embed
    assert not torch.equal(dino.positions(14, 14, False), dino.vit.pos_embed)


@torch.inference_mode()
def test_half_clip_keeps_its_norms_in_float32() -> None:
    weights = weights_for("clip-b")
    whole, half = load("clip-b", weights=weights), load("clip-b", weights=weights, half=True)
    frames = centred(1, 224, 224)
    got = half(frames.half())
    assert got.dtype == torch.float16
    kinds = {name.split(".")[-2]: value.dtype for name, value in half.state_dict().items() if "resblocks.0" in name}
    assert kinds == {
        "ln_1": torch.float32,
        "ln_2": torch.float32,
        "attn": torch.float16,
        "out_proj": torch.float16,
        "c_fc": torch.float16,
        "c_proj": torch.float16,
    }
    # 11 bits of mantissa through 12 blocks: a few thousandths.
    assert nn.functional.cosine_similarity(got.float(), whole(frames)).item() > 0.9999


def test_only_clip_runs_in_half_precision() -> None:
    with pytest.raises(ValueError, match="'aesthetic' runs in float32 only"):
        load("aesthetic", weights=weights_for("aesthetic"), half=True)


@pytest.mark.parametrize("name", ["amt", "raft"])
def test_frames_too_small_for_the_correlation_pyramid_are_refused(
    name: str, seeded_network: Callable[[str], nn.Module]
) -> None:
    with pytest.raises(ValueError, match="128 pixels a side, padded; got 112"):
        seeded_network(name)(*torch.zeros(2, 3, 112, 160).chunk(2))
