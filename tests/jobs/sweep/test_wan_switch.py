"""A timed prompt on a Wan backbone in small: from the sweep file through the encoder, the sampler and the decoder."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.jobs.cli import execute
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.resources import Resources
from longtake.platform.store.sweep import SweepStore
from longtake.platform.store.text_cache import TextCache
from longtake.platform.takes import Take
from tests.jobs import mini_wan

DUSK, NIGHT = "a street at dusk", "the same street at night, in rain"
BEFORE = 12
"""Latent frames of the first text: 3 s of 4 a second, four blocks. The window has 7, so not all are computed again."""
SWEEP = f"""
name: timed
backbones: [{mini_wan.MiniLongLive.spec.name}]
methods: [native, {{native: {{recache: none}}, as: text-alone}}]
lengths_s: [6]
prompts:
  - {DUSK}
  - [{{at_s: 0, text: "{DUSK}"}}, {{at_s: 3, text: "{NIGHT}"}}]
suites: [classical]
tracking: {{uri: disabled}}
workers: {{cluster: inline}}
"""


@pytest.fixture(scope="module")
def swept(wan_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("timed")
    (out / "timed.yaml").write_text(SWEEP)
    said = io.StringIO()
    with redirect_stdout(said):
        assert execute(["run", str(out / "timed.yaml"), f"output={out / 'runs'}"]) == 0
    (out / "said.txt").write_text(said.getvalue())
    return out / "runs"


def takes_of(runs: Path) -> dict[tuple[str, int], Take]:
    """By method and number of switches."""
    return {(take.method.label, len(take.switches)): take for take in SweepStore(runs, "timed").plan()}


@pytest.fixture(scope="module")
def made(swept: Path) -> dict[tuple[str, int], tuple[torch.Tensor, np.ndarray]]:
    """Each take sampled alone from the cached texts: its latents and the frames they decode to, before encoding."""
    sampler = Sampler(mini_wan.MiniLongLive.spec.name, Resources(device="cpu", texts=swept / "texts"))
    found = {}
    for key, take in takes_of(swept).items():
        latents = torch.cat([block.latents for block in sampler.generate(take)])
        found[key] = latents, sampler.decoder(take).push(latents)
    return found


def test_each_text_is_encoded_once_and_kept(swept: Path) -> None:
    """The first text is that of both prompts and of all methods; the second occurs in one prompt."""
    assert re.findall(r"encoding (\d+) prompts? once", (swept.parent / "said.txt").read_text()) == ["2"]
    assert len(list((swept / "texts").rglob("*.safetensors"))) == 2
    texts, encoder = TextCache(swept / "texts"), mini_wan.MiniLongLive.text_source().sha256
    dusk, night = texts.get(encoder, DUSK), texts.get(encoder, NIGHT)
    assert not (dusk.shape == night.shape and dusk.equal(night))


def test_frames_before_the_change_are_those_of_the_plain_take(
    swept: Path, made: dict[tuple[str, int], tuple[torch.Tensor, np.ndarray]]
) -> None:
    """Bit for bit, as latents and as frames of the video: 12 latent frames give 1 + 4 * 11 = 45."""
    timed = takes_of(swept)["native", 1]
    assert [(one.frame, one.text) for one in timed.switches] == [(BEFORE, NIGHT)]
    assert (timed.part_at(44), timed.part_at(45)) == (0, 1)
    for method in ("native", "text-alone"):
        (plain, plain_frames), (changed, changed_frames) = made[method, 0], made[method, 1]
        assert plain[:BEFORE].equal(changed[:BEFORE])
        assert np.array_equal(plain_frames[:45], changed_frames[:45])
        for first in range(BEFORE, 24, 3):
            assert not plain[first : first + 3].equal(changed[first : first + 3])
        assert not np.array_equal(plain_frames[45], changed_frames[45])


def test_native_computes_its_window_again_under_the_new_text(
    swept: Path, made: dict[tuple[str, int], tuple[torch.Tensor, np.ndarray]]
) -> None:
    """The same frames are attended with and without the recache, with other keys and values from the change on."""
    (recached, _), (kept, _) = made["native", 1], made["text-alone", 1]
    assert recached[:BEFORE].equal(kept[:BEFORE])
    assert not recached[BEFORE : BEFORE + 3].equal(kept[BEFORE : BEFORE + 3])
    store, takes = SweepStore(swept, "timed"), takes_of(swept)
    recached_trace, kept_trace = (store.trace(takes[method, 1].id) for method in ("native", "text-alone"))
    assert len(recached_trace) == 8
    assert recached_trace == kept_trace
    (plain, _), (plain_alone, _) = made["native", 0], made["text-alone", 0]
    assert plain.equal(plain_alone), "without a change, the setting has no effect"


def test_both_parts_are_scored(swept: Path) -> None:
    store = SweepStore(swept, "timed")
    for (_, switches), take in takes_of(swept).items():
        scores = store.scores(take.id, "classical")
        assert scores is not None
        parts = {name.rpartition(".at_")[2] for name in scores.drift if ".at_text" in name}
        assert parts == ({"text_1", "text_2"} if switches else set())
