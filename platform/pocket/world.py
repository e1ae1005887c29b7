"""The skyline world: one circular street per (sky word, material word, seed).

Owns how a street is drawn. A panorama is 96 columns of 4x32 px, and a camera sees 8 columns of it. It is drawn with
integer arithmetic from a PCG64 stream seeded by a SHA-256 of its inputs, so every machine draws the same bytes. No two
columns of a panorama are equal, so a column identifies its position. Knows no camera, model or file.

Legend: C columns (96), W panorama px (384), H height px (32).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.palette import BUILDING_COLOURS, PROP_COLOURS, SKY_LOOKS, SkyLook

COLUMNS = 96
COLUMN_PX = 4
HEIGHT_PX = 32
VIEW_COLUMNS = 8
COLUMN_DIMS = HEIGHT_PX * COLUMN_PX * 3
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
LOOKS = 10 * len(BODY_PX) * WINDOWS
PROPS = PROP_KINDS * PROP_SIZES * len(PROP_COLOURS)
TINTS, HILL_PX = 32, 10
LOTS, TINT, HILLS = slice(5 * COLUMNS), slice(5 * COLUMNS, 5 * COLUMNS + 12), slice(5 * COLUMNS + 12, 5 * COLUMNS + 36)
"""The parts of a street's random numbers."""

_X = np.arange(WIDTH_PX)
_UP = (HEIGHT_PX - GROUND_PX - 1) - np.arange(HEIGHT_PX)[:, None]  # rows above the ground, 0 is the lowest; [H, 1]
_ABOVE = _UP >= 0
_INNER = (_X % COLUMN_PX == 1) | (_X % COLUMN_PX == 2)


@dataclass(frozen=True)
class Lots:
    """The lots of 96 columns from left to right, in arrays of 96; those that begin beyond the last column are unused.

    `end`: the column after the lot; `look`: colour, height and windows of a house, as one number; `prop`: kind, colour
    and size of what stands in a gap, as one number.
    """

    is_gap: np.ndarray
    end: np.ndarray
    look: np.ndarray
    prop: np.ndarray
    roof: np.ndarray

    @property
    def start(self) -> np.ndarray:
        return np.concatenate([[0], self.end[:-1]])

    def at(self, columns: np.ndarray) -> np.ndarray:
        """The lot of each column."""
        return np.searchsorted(self.end, columns, side="right")


@dataclass(frozen=True)
class Drawing:
    """96 columns before they are painted: lots, and at each pixel column the tint of the sky and the height of the
    hills [W]."""

    lots: Lots
    tint: np.ndarray
    hills: np.ndarray

    def paint(self, sky: str, material: str) -> np.ndarray:
        """uint8 [32, 384, 3]."""
        look, street = SKY_LOOKS[sky], _street(self.lots)
        image = _paint_backdrop(look, self.tint, self.hills)
        _paint_buildings(image, street, look, np.array(BUILDING_COLOURS[material]))
        _paint_props(image, street, look)
        return np.clip(image, 0, 255).astype(np.uint8)


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
    return draw(street_name(sky, material, seed)).paint(sky, material)


def street_name(sky: str, material: str, seed: int) -> str:
    """What the random numbers of a street depend on."""
    return f"longtake-skyline-1|{sky}|{material}|{int(seed)}"


def draw(name: str) -> Drawing:
    """The circular street of this name."""
    raw = raw_numbers(name)
    return Drawing(draw_lots(raw[LOTS].reshape(5, COLUMNS)), rolling(raw[TINT], TINTS), rolling(raw[HILLS], HILL_PX))


def with_new_looks(drawing: Drawing, name: str, first: int, last: int) -> Drawing:
    """The same street after a change: each lot that begins in columns `first` to `last` has a look that no lot had."""
    lots, raw = drawing.lots, raw_numbers(name)
    is_changed = (lots.start >= first) & (lots.start <= last)
    look, prop = lots.look.copy(), lots.prop.copy()
    for numbers, wanted, choices in ((look, ~lots.is_gap, LOOKS), (prop, lots.is_gap, PROPS)):
        used = set(numbers[wanted & (lots.start < COLUMNS)].tolist())
        for lot in np.flatnonzero(wanted & is_changed).tolist():
            value = int(raw[lot]) % choices
            while value in used:
                value = (value + 1) % choices
            used.add(value)
            numbers[lot] = value
    return replace(drawing, lots=replace(lots, look=look, prop=prop))


def crop(panorama_HWC: np.ndarray, left_px: int) -> np.ndarray:
    """The view of a camera with its left edge at `left_px` (any integer, wrapped): uint8 [32, 32, 3]."""
    return panorama_HWC[:, (left_px + np.arange(VIEW_PX)) % WIDTH_PX]


def split_columns(picture_HWC: np.ndarray) -> np.ndarray:
    """[32, 4 n, 3] -> [n, 384]: one flattened column per row."""
    count = picture_HWC.shape[1] // COLUMN_PX
    return picture_HWC.reshape(HEIGHT_PX, count, COLUMN_PX, 3).transpose(1, 0, 2, 3).reshape(count, COLUMN_DIMS)


def check_words(sky: str, material: str) -> None:
    for noun, word, known in (("sky", sky, SKIES), ("material", material, MATERIALS)):
        if word not in known:
            raise ConfigError(f"pocket prompt: unknown {noun} word {word!r}; use one of {', '.join(known)}")


def raw_numbers(name: str) -> np.ndarray:
    """Non-negative int64 numbers [576] for a name; numpy guarantees the raw PCG64 stream across versions."""
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    stream = np.random.PCG64(np.random.SeedSequence(words)).random_raw(6 * COLUMNS)
    return (stream >> np.uint64(16)).astype(np.int64)


def draw_lots(raw_5C: np.ndarray) -> Lots:
    """Divide 96 columns into lots of 1-3 columns and give every lot a unique look."""
    gap_raw, width_raw, look_raw, prop_raw, roof_raw = raw_5C
    is_gap = gap_raw % 100 < GAP_PERCENT
    return Lots(
        is_gap,
        np.cumsum(np.where(is_gap, 1, 1 + width_raw % 3)),
        _distinct(look_raw, ~is_gap, LOOKS),
        _distinct(prop_raw, is_gap, PROPS),
        roof_raw % ROOFS,
    )


def _street(lots: Lots) -> _Street:
    lot = lots.at(np.arange(COLUMNS)).repeat(COLUMN_PX)  # [W]
    look, prop = lots.look[lot], lots.prop[lot]
    return _Street(
        is_gap=lots.is_gap[lot],
        inside=_X - lots.start[lot] * COLUMN_PX,
        wide=(np.minimum(lots.end, COLUMNS) - lots.start)[lot] * COLUMN_PX,
        colour=look % 10,
        body=BODY_PX[look // 10 % len(BODY_PX)],
        roof=lots.roof[lot],
        window=look // 10 // len(BODY_PX),
        prop=prop % PROP_KINDS,
        prop_colour=prop // PROP_KINDS % len(PROP_COLOURS),
        prop_size=prop // (PROP_KINDS * len(PROP_COLOURS)),
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


def _paint_backdrop(look: SkyLook, tint_W: np.ndarray, hills_W: np.ndarray) -> np.ndarray:
    """Sky gradient with a soft glow, far hills and the ground strip: int64 [H, W, 3]."""
    row = np.arange(HEIGHT_PX)[:, None, None]
    top, horizon = np.array(look.top), np.array(look.horizon)
    span = HEIGHT_PX - GROUND_PX - 1
    sky = (top * np.maximum(span - row, 0) + horizon * np.minimum(row, span)) // span
    image = sky + tint_W[None, :, None] - 16
    image = np.where((3 + hills_W > _UP)[..., None], np.array(look.hills) + 2 * _UP[..., None], image)
    shade = np.array([18, -8, -14, -22])[:, None, None]
    image[-GROUND_PX:] = np.array(look.ground) + shade
    return image


def rolling(raw_K: np.ndarray, height: int, after: int | None = None) -> np.ndarray:
    """A smooth curve [W] in 0..height-1 through K random points (integer smoothstep).

    It ends at the point `after`, the first one of what follows; by default it is a circle.
    """
    points = np.append(raw_K, raw_K[0] if after is None else after) % height
    step = WIDTH_PX // len(raw_K)
    left, t = _X // step, _X % step
    weight = t * t * (3 * step - 2 * t)
    return (points[left] * (step**3 - weight) + points[left + 1] * weight) // step**3


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
