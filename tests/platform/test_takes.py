"""A take's identity: what changes pixels changes it, and nothing else does."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from longtake.platform.prompts import Switch
from longtake.platform.takes import PUBLISHED_DECODE, MethodSpec, Take

RAG = MethodSpec("rag", "rag", {"top_k": 6, "descriptor": "weights/e.safetensors"})
PRINTS = (("method.descriptor", "d1"), ("weights", "w1"))
NIGHT = Switch(20.0, "night, brick; pan left 6 s", frame=81)
TAKE = Take("pocket", RAG, 30, 120, "dusk, brick; pan right 6 s, left 6 s, repeat", 0, 0, PRINTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "pocket-mem"},
        {"latent_frames": 123},
        {"prompt": "noon, brick; pan right 6 s, left 6 s, repeat"},
        {"seed": 1},
        {"prefix_frames": 90},
        {"fingerprint": (("method.descriptor", "d1"), ("weights", "w2"))},
        {"fingerprint": (("method.descriptor", "d2"), ("weights", "w1"))},
        {"method": MethodSpec("rag", "rag", {**RAG.params, "top_k": 5})},
        {"method": MethodSpec("random-memory", "rag", RAG.params)},
        {"switches": (NIGHT,)},
    ],
)
def test_what_changes_pixels_changes_the_id(changes):
    assert replace(TAKE, **changes).id != TAKE.id


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 31},
        {"method": MethodSpec("rag", "another label", RAG.params)},
        {"method": MethodSpec("rag", "rag", {**RAG.params, "descriptor": "elsewhere/e.safetensors"})},
        {"fingerprint": PRINTS[::-1]},
        {"switches": ()},
    ],
)
def test_labels_paths_and_order_do_not(changes):
    assert replace(TAKE, **changes).id == TAKE.id


@pytest.mark.parametrize(
    "take",
    [
        TAKE,
        replace(TAKE, prompt='dusk "é" \u2028 \\ 🏠\n', seed=2**31 - 1, prefix_frames=9),
        replace(TAKE, fingerprint=()),
        replace(TAKE, fingerprint=PRINTS[::-1]),
        replace(TAKE, method=MethodSpec("rag", "rag", {"b": None, "a": 1, "c": [1.5, "x"]})),
        replace(TAKE, method=MethodSpec("rag", "rag", {"a": 1.0})),
        replace(TAKE, method=MethodSpec("rag", "rag", {"a": True})),
    ],
)
def test_the_id_hashes_the_canonical_json_of_the_identity(take):
    """1, 1.0 and true are equal in Python, but not in JSON."""
    hashed = {name for name, _ in take.fingerprint}
    params = {k: v for k, v in take.method.params.items() if v is not None and f"method.{k}" not in hashed}
    identity = {
        "backbone": take.backbone, "method": {"name": take.method.name, "params": params},
        "latent_frames": take.latent_frames, "prompt": take.prompt, "seed": take.seed,
        "start_frames": take.prefix_frames, "fingerprint": sorted(map(list, take.fingerprint)),
    }  # fmt: skip
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert take.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_descriptor_without_weights_is_a_parameter():
    """avg-pool has no file and so no fingerprint: its name counts."""
    plain = replace(TAKE, fingerprint=(("weights", "w1"),))
    other = replace(plain, method=MethodSpec("rag", "rag", {**RAG.params, "descriptor": "max-pool"}))
    assert plain.id != other.id


def test_json_round_trip():
    assert Take.from_json(TAKE.to_json()) == TAKE
    assert Take.from_json(TAKE.to_json()).id == TAKE.id


def test_frames():
    """120 latent frames: the first gives one video frame, each of the other 119 gives four."""
    assert TAKE.num_frames == 477


def test_ids_of_takes_without_switches_are_those_of_stores_from_before_there_were_any():
    other = Take("longlive", MethodSpec("native", "native", {"window": 12, "sink": 3}), 60, 240, "a red car", 3, 9,
                 (("weights", "w"),))  # fmt: skip
    assert (TAKE.id, other.id) == ("d3b7be19c452f0e9", "212f29ec99604e38")
    assert "switches" not in TAKE.to_json()


@pytest.mark.parametrize("other", [replace(NIGHT, frame=84), replace(NIGHT, text="dusk"), replace(NIGHT, cut=True)])
def test_what_a_switch_does_to_the_pixels_changes_the_id(other):
    assert replace(TAKE, switches=(NIGHT,)).id != replace(TAKE, switches=(other,)).id
    assert replace(TAKE, switches=(NIGHT,)).id == replace(TAKE, switches=(replace(NIGHT, at_s=19.9),)).id


def test_switches_survive_a_plan():
    take = replace(TAKE, switches=(NIGHT, replace(NIGHT, at_s=25.5, frame=102, cut=True)))
    assert Take.from_json(json.loads(json.dumps(take.to_json()))) == take


@pytest.mark.parametrize(
    "damaged", [{"at_s": "20"}, {"frame": 81.0}, {"text": None}, {"cut": 1}, {"at": 3}, {"frame": None}]
)
def test_a_damaged_switch_is_no_take(damaged):
    row = replace(TAKE, switches=(NIGHT,)).to_json()
    row["switches"][0] |= damaged
    with pytest.raises((TypeError, ValueError)):
        Take.from_json(row)


def test_a_timed_prompt_reads_on_one_line():
    take = replace(TAKE, prompt="a", switches=(Switch(20.0, "b", frame=81), Switch(25.5, "c", True, frame=102)))
    assert take.full_prompt == "a | 20 s: b | 25.5 s, cut: c"


@pytest.mark.parametrize(("prints", "last_of_first"), [(PRINTS, 4 * 80), ((("decode", PUBLISHED_DECODE),), 4 * 80 - 3)])
def test_a_video_frame_belongs_to_the_text_of_its_latent_frame(prints, last_of_first):
    """The published decode gives only one frame for latent frame 60."""
    take = replace(TAKE, fingerprint=prints, switches=(NIGHT,))
    assert [take.part_at(frame) for frame in (0, last_of_first, last_of_first + 1, take.num_frames - 1)] == [0, 0, 1, 1]
    firsts = [take.first_video_frame(frame) for frame in range(take.latent_frames)]
    steps = {after - before for before, after in pairwise(firsts)}
    assert (firsts[0], steps) == (0, {1, 4})
    assert take.num_frames == firsts[-1] + 4
