"""The skyline world: one circular street per (sky word, material word, seed).

Owns the ground truth. A panorama is 96 columns of 4x32 px, and a camera sees 8 columns of it. It is drawn with integer
arithmetic from a PCG64 stream seeded by a SHA-256 of its inputs, so every machine draws the same bytes. No two columns
of a panorama are equal, so a column identifies its position. Knows no camera, model or file.

Legend: C columns (96), W panorama px (384), H height px (32).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.palette import BUILDING_COLOURS, PROP_COLOURS, SKY_LOOKS, SkyLook

COLUMNS = 96
COLUMN_PX = 4
HEIGHT_PX = 32
VIEW_COLUMNS = 8
WIDTH_PX = COLUMNS * COLUMN_PX
VIEW_PX = VIEW_COLUMNS * COLUMN_PX
SKIES = tuple(SKY_LOOKS)
MATERIALS = tuple(BUILDING_COLOURS)
TRAINING_SEEDS_FROM = 1_000_000
"""Takes use seeds below this one and training uses seeds from it on, so that no take shows a training street."""

GROUND_PX = 4
GAP_PERCENT = 35
BODY_PX = np.array([5, 8, 11, 14, 17, 20])
ROOFS, WINDOWS, PROP_KINDS, PROP_SIZES = 3, 4, 3, 3

_X = np.arange(WIDTH_PX)
_UP = (HEIGHT_PX - GROUND_PX - 1) - np.arange(HEIGHT_PX)[:, None]  # rows above the ground, 0 is the lowest; [H, 1]
_ABOVE = _UP >= 0
_INNER = (_X % COLUMN_PX == 1) | (_X % COLUMN_PX == 2)


@dataclass(frozen=True)
class _Street:
    """The lot at each pixel column [W]. `wide`: the lot's width in px; `inside`: px from its left edge."""

    is_gap: np.ndarray
    inside: np.ndarray
    wide: np.ndarray
    colour: np.ndarray
    body: np.ndarray
    roof: np.ndarray
    window: np.ndarray
    prop: np.ndarray
    prop_colour: np.ndarray
    prop_size: np.ndarray


def panorama(sky: str, material: str, seed: int) -> np.ndarray:
    """The whole street, uint8 [32, 384, 3], a circle. Raises ConfigError for unknown words."""
    check_words(sky, material)
    raw = _raw_numbers(sky, material, seed)
    look = SKY_LOOKS[sky]
    street = _plan_street(raw[: 5 * COLUMNS].reshape(5, COLUMNS))
    image = _paint_backdrop(look, raw[5 * COLUMNS :])
    _paint_buildings(image, street, look, np.array(BUILDING_COLOURS[material]))
    _paint_props(image, street, look)
    return np.clip(image, 0, 255).astype(np.uint8)


def crop(panorama_HWC: np.ndarray, left_px: int) -> np.ndarray:
    """The view of a camera with its left edge at `left_px` (any integer, wrapped): uint8 [32, 32, 3]."""
    return panorama_HWC[:, (left_px + np.arange(VIEW_PX)) % WIDTH_PX]


def check_words(sky: str, material: str) -> None:
    for noun, word, known in (("sky", sky, SKIES), ("material", material, MATERIALS)):
        if word not in known:
            raise ConfigError(f"pocket prompt: unknown {noun} word {word!r}; use one of {', '.join(known)}")


def _raw_numbers(sky: str, material: str, seed: int) -> np.ndarray:
    """Non-negative int64 numbers; numpy guarantees the raw PCG64 stream across versions."""
    digest = hashlib.sha256(f"longtake-skyline-1|{sky}|{material}|{int(seed)}".encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    stream = np.random.PCG64(np.random.SeedSequence(words)).random_raw(6 * COLUMNS)
    return (stream >> np.uint64(16)).astype(np.int64)


def _plan_street(raw_5C: np.ndarray) -> _Street:
    """Divide the circle into lots of 1-3 columns and give every lot a unique look."""
    gap_raw, width_raw, look_raw, prop_raw, roof_raw = raw_5C
    lot_is_gap = gap_raw % 100 < GAP_PERCENT
    lot_columns = np.where(lot_is_gap, 1, 1 + width_raw % 3)
    ends = np.cumsum(lot_columns)
    lot = np.searchsorted(ends, np.arange(COLUMNS), side="right").repeat(COLUMN_PX)  # [W]
    starts = ends - lot_columns
    wide = (np.minimum(ends, COLUMNS) - starts)[lot] * COLUMN_PX
    looks = _distinct(look_raw, ~lot_is_gap, 10 * len(BODY_PX) * WINDOWS)[lot]
    props = _distinct(prop_raw, lot_is_gap, PROP_KINDS * PROP_SIZES * len(PROP_COLOURS))[lot]
    colour, rest = looks % 10, looks // 10
    return _Street(
        is_gap=lot_is_gap[lot],
        inside=_X - starts[lot] * COLUMN_PX,
        wide=wide,
        colour=colour,
        body=BODY_PX[rest % len(BODY_PX)],
        roof=(roof_raw % ROOFS)[lot],
        window=rest // len(BODY_PX),
        prop=props % PROP_KINDS,
        prop_colour=props // PROP_KINDS % len(PROP_COLOURS),
        prop_size=props // (PROP_KINDS * len(PROP_COLOURS)),
    )


def _distinct(raw_C: np.ndarray, wanted_C: np.ndarray, choices: int) -> np.ndarray:
    """A unique look for each wanted lot (0 for the others): a number in use is replaced by the next free one."""
    used: set[int] = set()
    looks = np.zeros_like(raw_C)
    for index in np.nonzero(wanted_C)[0].tolist():
        value = int(raw_C[index]) % choices
        while value in used and len(used) < choices:
            value = (value + 1) % choices
        used.add(value)
        looks[index] = value
    return looks


def _paint_backdrop(look: SkyLook, raw: np.ndarray) -> np.ndarray:
    """Sky gradient with a soft glow, far hills and the ground strip: int64 [H, W, 3]."""
    row = np.arange(HEIGHT_PX)[:, None, None]
    top, horizon = np.array(look.top), np.array(look.horizon)
    span = HEIGHT_PX - GROUND_PX - 1
    sky = (top * np.maximum(span - row, 0) + horizon * np.minimum(row, span)) // span
    image = sky + _rolling(raw[:12], 32)[None, :, None] - 16
    hills = 3 + _rolling(raw[12:36], 10)
    image = np.where((hills > _UP)[..., None], np.array(look.hills) + 2 * _UP[..., None], image)
    shade = np.array([18, -8, -14, -22])[:, None, None]
    image[-GROUND_PX:] = np.array(look.ground) + shade
    return image


def _rolling(raw_K: np.ndarray, height: int) -> np.ndarray:
    """A smooth circular curve [W] in 0..height-1 through K random points (integer smoothstep)."""
    points = raw_K % height
    step = WIDTH_PX // len(points)
    left, t = _X // step, _X % step
    weight = t * t * (3 * step - 2 * t)
    here, there = points[left], points[(left + 1) % len(points)]
    return (here * (step**3 - weight) + there * weight) // step**3


def _paint_buildings(image: np.ndarray, street: _Street, look: SkyLook, colours: np.ndarray) -> None:
    light = np.array(look.light)
    wall = colours[street.colour] * light // 256  # [W, 3]
    edge = np.where(street.inside == 0, 24, np.where(street.inside == street.wide - 1, -28, 0))
    is_building = ~street.is_gap
    body = (street.body > _UP) & _ABOVE & is_building
    _fill(image, body, wall + edge[:, None])
    _fill(image, _roof_mask(street) & is_building, (wall + 3 * np.array(look.roof)) // 4)
    _fill(image, body & _window_mask(street), (np.array(look.windows) + wall) // 2)


def _fill(image: np.ndarray, mask_HW: np.ndarray, colour_W3: np.ndarray) -> None:
    """Mutates image: every masked pixel takes the colour of its pixel column."""
    rows, columns = np.nonzero(mask_HW)
    image[rows, columns] = colour_W3[columns]


def _roof_mask(street: _Street) -> np.ndarray:
    """0 a flat edge, 1 a steep roof one storey high, 2 a turret on every column."""
    turret = np.where(_INNER, 3, 0)
    rise = np.choose(street.roof, [np.ones_like(turret), np.full_like(turret, 3), turret])
    return (street.body <= _UP) & (street.body + rise > _UP)


def _window_mask(street: _Street) -> np.ndarray:
    """0 small squares, 1 tall slits, 2 broad bands, 3 a door only; never in the top row of a wall."""
    return _WINDOW_PATTERNS[street.window, :, _X % COLUMN_PX].T & (street.body - 1 > _UP)


def _paint_props(image: np.ndarray, street: _Street, look: SkyLook) -> None:
    """Paint the gaps: 0 tree, 1 bush, 2 lantern, each in three sizes; their tops align with the storeys of houses."""
    light = np.array(look.light)
    shape = _PROP_PATTERNS[street.prop * PROP_SIZES + street.prop_size, :, _X % COLUMN_PX].T
    stem = (BODY_PX[street.prop_size] > _UP) & _ABOVE & _INNER & (street.prop != 1)
    _fill(image, stem & street.is_gap, np.broadcast_to(np.array([84, 66, 56]) * light // 256, (WIDTH_PX, 3)))
    _fill(image, shape & street.is_gap, np.array(PROP_COLOURS)[street.prop_colour] * light // 256)


def _window_patterns() -> np.ndarray:
    """bool [WINDOWS, H, COLUMN_PX]."""
    inner, up = _INNER[None, :COLUMN_PX], _UP
    squares = inner & (up % 3 == 1)
    slits = inner & (up >= 1)
    bands = (up % 6 >= 3) & (up % 6 <= 4) & np.ones_like(inner)
    door = inner & (up <= 2)
    return np.stack([squares, slits, bands, door]) & _ABOVE


def _prop_patterns() -> np.ndarray:
    """bool [PROP_KINDS * PROP_SIZES, H, COLUMN_PX]."""
    inner, up, tops = _INNER[None, :COLUMN_PX], _UP, BODY_PX[:PROP_SIZES]
    broad = np.ones_like(inner)
    trees = [(up >= top) & (up < top + 3) & broad for top in tops]
    bushes = [(up < top) & broad for top in tops]
    lanterns = [(up >= top) & (up < top + 3) & inner for top in tops]
    return np.stack(trees + bushes + lanterns) & _ABOVE


_WINDOW_PATTERNS = _window_patterns()
_PROP_PATTERNS = _prop_patterns()
