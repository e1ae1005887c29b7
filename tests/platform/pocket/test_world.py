"""The skyline world: the same bytes everywhere, and a column that tells where it stands."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.world import MATERIALS, SKIES, crop, panorama, split_columns

STYLES = [(sky, material) for sky in SKIES for material in MATERIALS]

# Made with numpy 2.4 on x86-64 by this code: integers only, so any machine must agree. A change makes the shipped
# codec and the pocket backbones' weights wrong.
GOLDEN = {
    ("dusk", "brick", 0): "64637c4f3f608db2",
    ("noon", "glass", 1_000_000): "ecc76a8604ce6319",
    ("night", "timber", 2**40): "fd769006eb46b35d",
}


@pytest.mark.parametrize(("street", "digest"), GOLDEN.items())
def test_a_street_is_the_same_on_every_machine(street: tuple[str, str, int], digest: str) -> None:
    assert hashlib.sha256(panorama(*street).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("sky", "material"), STYLES)
def test_no_two_columns_are_alike(sky: str, material: str) -> None:
    for seed in range(6):
        columns = split_columns(panorama(sky, material, seed)).astype(float)
        norms = (columns**2).sum(1)
        distance = norms[:, None] + norms[None] - 2 * columns @ columns.T
        np.fill_diagonal(distance, np.inf)
        assert distance.min() / 384 > 2


def test_words_and_seed_each_change_the_street() -> None:
    streets = [panorama(sky, material, seed).tobytes() for sky, material in STYLES for seed in (0, 1)]
    assert len(set(streets)) == 32


def test_the_crop_wraps_round_the_circle() -> None:
    street = panorama("noon", "stone", 3)
    assert street.shape == (32, 384, 3)
    assert street.dtype == np.uint8
    np.testing.assert_array_equal(crop(street, 380)[:, :4], street[:, 380:])
    np.testing.assert_array_equal(crop(street, 380)[:, 4:], street[:, :28])
    np.testing.assert_array_equal(crop(street, -4), crop(street, 380))


@pytest.mark.parametrize(("sky", "material", "said"), [("dust", "brick", "dusk"), ("dusk", "bricks", "brick")])
def test_unknown_words_name_the_known_ones(sky: str, material: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        panorama(sky, material, 0)
