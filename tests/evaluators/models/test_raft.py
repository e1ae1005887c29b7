"""RAFT in parts is RAFT: not a bit differs from vbench's and torchvision's own forward, and work is not done twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from longtake.evaluators.models.bare import bare_attribute
from longtake.evaluators.models.base import load, published_shapes
from longtake.evaluators.models.raft import TWIN, torchvision_name
from tests.evaluators.models.conftest import weights_for
from tests.parity.answers import picture


class Args(SimpleNamespace):
    """vbench's RAFT asks `name in args`."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


@pytest.fixture(scope="module")
def raft() -> Any:
    return load("raft", weights=weights_for("raft"))


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.filterwarnings("ignore:.*autocast:FutureWarning")
def test_two_pairs_that_share_a_frame_flow_as_the_published_code_says_bit_for_bit(raft: Any) -> None:
    official = bare_attribute("vbench.third_party.RAFT.core.raft", "RAFT", "vbench")(
        Args(small=False, mixed_precision=False, alternate_corr=False)
    ).eval()
    official.load_state_dict(weights_for("raft")["raft-things"])
    frames = picture(3, 136, 200)
    features = [raft.features(frame[None]) for frame in frames]
    for i in range(2):
        pair = frames[i : i + 1], frames[i + 1 : i + 2]
        got = raft.flow(features[i], features[i + 1], raft.context(pair[0]))
        assert torch.equal(got, official(*pair, iters=20, test_mode=True)[1])
        scaled = (2 * (frame / 255) - 1 for frame in pair)
        assert torch.equal(got, raft.raft(*scaled, num_flow_updates=20)[-1])
        assert float(got.abs().max()) > 0.5


@torch.inference_mode()
def test_fewer_iterations_stop_earlier(raft: Any) -> None:
    pair = picture(2, 128, 128).chunk(2)
    scaled = (2 * (frame / 255) - 1 for frame in pair)
    assert torch.equal(raft(*pair, iters=3), raft.raft(*scaled, num_flow_updates=3)[-1])


@torch.inference_mode()
def test_the_mask_is_predicted_once_and_the_correlation_is_let_go(raft: Any) -> None:
    calls: list[int] = []
    hook = raft.raft.mask_predictor.register_forward_hook(lambda *_: calls.append(1))
    raft(*picture(2, 128, 128).chunk(2))
    hook.remove()
    assert len(calls) == 1
    assert raft.raft.corr_block.corr_pyramid == []


def test_torchvisions_own_names_are_taken_too(raft: Any) -> None:
    official = weights_for("raft")["raft-things"]
    theirs = {torchvision_name(name): value for name, value in official.items() if not TWIN.search(name)}
    again = load("raft", weights={"raft-things": theirs})
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in raft.state_dict().items())


def test_official_names_cover_torchvisions() -> None:
    official = {name for name in published_shapes("raft-things") if not TWIN.search(name)}
    named = {torchvision_name(name) for name in official}
    assert named == set(published_shapes("raft-things/torchvision"))
    # two strided blocks of the context encoder, a batch norm of five tensors each, saved under two names
    assert len(published_shapes("raft-things")) == len(named) + 2 * 5
    assert torchvision_name("cnet.layer2.0.downsample.1.weight") == "context_encoder.layer2.0.downsample.1.weight"
    assert torchvision_name("update_block.gru.convz1.weight") == "update_block.recurrent_block.convgru1.convz.weight"
