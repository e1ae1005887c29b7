"""A take's identity: what changes pixels changes it, and nothing else does."""

import hashlib
import json
from dataclasses import replace

import pytest

from longtake.platform.takes import MethodSpec, Take

RAG = MethodSpec("rag", "rag", {"top_k": 6, "descriptor": "weights/e.safetensors"})
PRINTS = (("method.descriptor", "d1"), ("weights", "w1"))
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
