"""A compiled network is the same network, and is compiled once. `aot_eager` stands in for inductor, whose C++ takes a
minute to build: what is traced, and when again, is decided before either."""

import pytest
import torch
from torch._dynamo.utils import counters

from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag
from tests.platform.rollouts import latents, new_network, start


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_parts_agree_and_are_compiled_once(fresh_compiler):
    """Three pieces (before, between and after the attentions) serve both layers, every number of frames in the window,
    any method, a given start and a second network."""
    eager, compiled = new_network(), new_network().compile_parts("aot_eager")
    plain = latents(start(eager, Native()), 6)
    assert (latents(start(compiled, Native()), 6) - plain).abs().max() < 1e-5
    assert counters["stats"]["unique_graphs"] == 3
    for config, prefix in ((Rag(), None), (Rag(), plain[:, :12])):
        ours, theirs = (latents(start(network, config), 9, prefix) for network in (compiled, eager))
        assert (ours - theirs).abs().max() < 1e-5
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["recompiles"]
    assert not counters["graph_break"]
