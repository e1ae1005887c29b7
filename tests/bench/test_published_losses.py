"""The re-enactment of the published habits computes what our engine computes, so that their times may be compared."""

import pytest
import torch

from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.rag import Rag
from longtake.platform.models.spec import DiTSpec

from .published_losses import HabitContext, compare, start

SPEC = DiTSpec(48, 64, 2, 2, 4, 4, 4, 6, 8)
BLOCKS = 10
RAG = Rag(top_k=4, recency_guard=2)


@pytest.mark.parametrize("lora", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("config", [Native(), NativeRelative(), RAG], ids=["native", "native-relative", "rag"])
def test_latents_are_those_of_our_engine(config, lora):
    case = compare(SPEC, config, "", BLOCKS, lora)
    assert case.difference < 1e-4
    assert len(case.ours) == len(case.theirs) == BLOCKS
    assert {"two clones of the cache", "float64 rotation"} <= case.by_habit.keys()


def latents(config, habits, lora):
    return torch.cat([block.latents for block in start(SPEC, config, habits, lora).blocks(BLOCKS)], dim=1)


def test_what_is_attended_and_what_is_merged_shows_in_the_latents():
    """Else the agreement above would say nothing: other frames, other positions or no LoRA move them far more."""
    mine = latents(RAG, True, True)
    for other in (latents(NativeRelative(), True, True), latents(Native(), True, True), latents(RAG, True, False)):
        assert (mine - other).abs().max() > 1e-2


def test_the_re_enactment_retrieves():
    rollout = start(SPEC, RAG, habits=True, lora=False)
    *_, last = rollout.blocks(BLOCKS)
    assert isinstance(rollout.context, HabitContext)
    assert sum(at.reason == "retrieved" for at in last.plan.rows[0]) == 4
