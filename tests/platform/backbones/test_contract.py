"""What every shipped backbone owes: weights that load, a card, and takes that are a function of their id.

Takes are made with one training of every recipe; the other seeds differ from it in their weights alone.
"""

from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
import torch

from longtake.jobs.certify.backbones import BACKBONE_CHECKS, BackboneSubject
from longtake.platform.backbones.base import backbones
from longtake.platform.backbones.pocket import RECIPES, SEED, WEIGHTS, Pocket, pocket_names, pocket_network, seed_of
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.generation.sampler import Sampler, build_method, method_config
from longtake.platform.methods.base import methods
from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag
from longtake.platform.pocket.codec import PocketCodec, StreamingDecoder
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.streets import street_of
from longtake.platform.pocket.world import COLUMN_PX, crop, panorama
from longtake.platform.takes import MethodSpec, Take

SHIPPED = pocket_names()
PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"


def take(backbone, method="rag", frames=27, start=0, seed=0):
    spec = MethodSpec(method, method, asdict(methods.get(method)()))
    marks = tuple(sorted(backbones.get(backbone).fingerprint().items()))
    return Take(backbone, spec, frames // 4, frames, PROMPT, seed, start, marks)


def true_videos(sampler, one):
    blocks, decoder = list(sampler.generate(one)), sampler.decoder(one)
    frames = [decoder.push(block.latents) for block in blocks]
    return np.concatenate(frames), torch.cat([block.latents for block in blocks]), blocks


@cache
def subject(name):
    return BackboneSubject(name)


@pytest.fixture(scope="module")
def samplers():
    torch.set_num_threads(1)
    return {name: Sampler(name) for name in RECIPES}


@pytest.mark.parametrize("name", RECIPES)
class TestEveryBackbone:
    def test_frames_are_those_of_the_take(self, samplers, name):
        frames, latents, blocks = true_videos(samplers[name], take(name))
        spec = backbones.get(name).spec
        assert frames.shape == (take(name).num_frames, spec.height, spec.width, 3)
        assert frames.dtype == np.uint8
        assert len(latents) == 27
        assert [block.trace["block"] for block in blocks] == list(range(9))
        assert samplers[name].stats["bank_bytes"] == (27 - 12) * (spec.frame.values * spec.frame.value_bytes)

    @pytest.mark.slow
    @pytest.mark.parametrize("check", BACKBONE_CHECKS)
    def test_it_passes_what_certify_checks(self, name, check):
        assert BACKBONE_CHECKS[check](subject(name))

    def test_methods_meet_the_same_noise(self, samplers, name):
        """Block 0 is equal under every method, block 1 under those that attend all six frames at their own index."""
        made: dict[int, set[bytes]] = {3: set(), 6: set()}
        for method in methods.names():
            frames, _, blocks = true_videos(samplers[name], take(name, method, frames=6))
            first = samplers[name].backbone.spec.fps // samplers[name].backbone.spec.latent_fps
            made[3].add(frames[: 1 + 2 * first].tobytes())
            attended = [(frame, time) for frame, time, *_ in blocks[1].trace["attended"]]
            if attended == [(frame, frame) for frame in range(6)] and "parts" not in blocks[1].trace:
                made[6].add(frames.tobytes())
        assert len(made[3]) == len(made[6]) == 1

    def test_given_start_is_the_true_street(self, samplers, name):
        frames, _, blocks = true_videos(samplers[name], take(name, start=12, frames=15))
        street = panorama("dusk", "brick", 0)
        camera = parse(PROMPT).camera(12)
        true = PocketCodec().encode(np.stack([crop(street, COLUMN_PX * int(c)) for c in camera]))
        assert np.array_equal(frames[:45], StreamingDecoder(PocketCodec(), camera).push(true))
        assert [block.trace["given"] for block in blocks] == [True] * 4 + [False]

    def test_a_long_street_and_a_circle_share_a_batch(self, samplers, name):
        """108 columns to the right: on the circle the sink is 12 columns behind, on the long street 108."""
        far = replace(take(name, "native", frames=111), prompt="dusk, brick; pan right 60 s")
        long = replace(far, prompt="dusk, brick, long; pan right 60 s")
        together = list(samplers[name].generate_together([far, long]))
        for row, one in enumerate((far, long)):
            alone = torch.cat([block.latents for block in samplers[name].generate(one)])
            assert torch.equal(alone, torch.cat([outputs[row].latents for outputs in together]))

    def test_the_given_start_of_a_long_street_is_true_beyond_its_first_stretch(self, samplers, name):
        """Frame 90 shows columns 90..97, which lie in two stretches of 96."""
        latents = samplers[name].backbone.prefix_latents("noon, glass, long; pan right 60 s", 3, 91)
        street = street_of("noon", "glass", 3, long=True)
        both = np.concatenate([street.picture(0), street.picture(1)], axis=1)
        true = PocketCodec().encode(both[None, :, 4 * 90 : 4 * 98])
        torch.testing.assert_close(latents[90:], true, rtol=0, atol=1e-5)

    def test_prompts_are_checked(self, name):
        with pytest.raises(ConfigError, match="for example"):
            backbones.get(name).check_prompt("a cat on a skateboard")

    def test_training_streets_are_no_takes(self, name):
        backbones.get(name).check_seed(999_999)
        with pytest.raises(ConfigError, match="seed 1000000: the training used seeds from 1000000 on"):
            backbones.get(name).check_seed(1_000_000)


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_small_load_and_have_a_card(name):
    assert backbones.get(name).weights_file().stat().st_size <= 2_700_000
    pocket_network(name)  # raises if a name, a shape or a number is wrong
    card = (WEIGHTS / f"{name}.md").read_text()
    for fact in ("Data", "Steps", "CPU time", "loss", "Limits", backbones.get(name).fingerprint()["weights"][:16]):
        assert fact in card


def test_all_weights_together_are_small():
    """The wheel and a clone hold them all."""
    files = WEIGHTS.parents[1].rglob("*.safetensors")
    assert sum(path.stat().st_size for path in files) <= 24_000_000


def test_trainings_of_a_recipe_differ_in_their_weights():
    """A seed's backbone is its recipe with other weights: the same sizes, window and schedule, another file."""
    assert set(SHIPPED) == {path.stem for path in WEIGHTS.glob("*.safetensors")}
    assert len({backbones.get(name).fingerprint()["weights"] for name in SHIPPED}) == len(SHIPPED)
    for name in SHIPPED:
        assert replace(backbones.get(name).spec, name="pocket") == Pocket.spec
        assert backbones.get(name).spec.name == name


def test_weights_name_their_recipe_and_seed():
    assert [SEED.fullmatch(name) for name in ("pocket", "pocket-mem", "pocket-s", "pocket-x-s1")] == [None] * 4
    recipe, seed = SEED.fullmatch("pocket-mem-s12").groups()
    other = seed_of(RECIPES[recipe], seed)
    assert other.spec == replace(RECIPES["pocket-mem"].spec, name="pocket-mem-s12")
    assert other.weights_file().name == "pocket-mem-s12.safetensors"
    assert "`pocket-mem`, trained from seed 12" in other.__doc__


def test_the_oracle_recalls_a_changed_house_as_it_was_seen_last(samplers):
    """At frame 108 the view is 12..19, up to 21 in its block. Columns 19..26 change at frame 48; frames 12..14 show the
    same view before, 60..62 after."""
    prompt = "dusk, brick; pan right 6 s, left 6 s, repeat; houses 18 to 26 change at 12 s"
    one = replace(take("pocket", "oracle-memory", frames=120, start=96), prompt=prompt)
    condition = samplers["pocket"].backbone.condition_of(one)
    chosen = {}
    for name, known in (("columns", replace(condition, places=None)), ("looks", condition)):
        method = build_method([one], method_config(one), Pocket.spec, [known])
        ((frame, _),) = method.choose(0, 108, list(range(90)), 1)
        chosen[name] = frame
    assert chosen["columns"] < 48 <= chosen["looks"]
    assert condition.columns[chosen["looks"]] in range(12, 15)


def test_missing_weights_stop_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.platform.backbones.pocket.WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match=r"pocket\.safetensors: No such file"):
        Pocket.fingerprint()


def test_cost_grows_with_length_and_bank():
    short, long = (Pocket.cost(replace(take("pocket"), latent_frames=f), Rag()) for f in (120, 960))
    assert long["cpu_seconds"] == pytest.approx(8 * short["cpu_seconds"])
    assert long["bank_bytes"] == (960 - 12) * Pocket.spec.frame.values * 4
    assert Pocket.cost(take("pocket"), Native())["bank_bytes"] == 0
    fp8 = Pocket.cost(replace(take("pocket"), latent_frames=960), Rag(bank_dtype="fp8", bank_frames=100))
    assert fp8["bank_bytes"] == 100 * (Pocket.spec.frame.values + 4 * Pocket.spec.frame.scales)
