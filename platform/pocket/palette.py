"""Colours of the skyline world, for each sky word and each material word.

Contains only RGB tables (integers 0..255). Changing a number changes every panorama, so the codec and the pocket
backbones must then be trained again.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class SkyLook:
    """`top` and `horizon` colour the sky; `light` multiplies the colours of all lit objects (256 = unchanged)."""

    top: RGB
    horizon: RGB
    hills: RGB
    ground: RGB
    windows: RGB
    roof: RGB
    light: RGB


SKY_LOOKS: dict[str, SkyLook] = {
    "dawn": SkyLook(
        top=(128, 160, 214), horizon=(250, 206, 176), hills=(150, 140, 172), ground=(118, 122, 110),
        windows=(255, 240, 200), roof=(96, 66, 84), light=(250, 236, 228),
    ),
    "noon": SkyLook(
        top=(52, 128, 226), horizon=(186, 222, 248), hills=(112, 164, 148), ground=(112, 128, 92),
        windows=(206, 234, 255), roof=(72, 62, 70), light=(256, 256, 256),
    ),
    "dusk": SkyLook(
        top=(74, 48, 122), horizon=(250, 132, 74), hills=(92, 52, 98), ground=(84, 66, 78),
        windows=(255, 214, 110), roof=(54, 30, 52), light=(244, 206, 206),
    ),
    "night": SkyLook(
        top=(8, 12, 40), horizon=(44, 56, 112), hills=(20, 26, 62), ground=(34, 38, 58),
        windows=(255, 226, 120), roof=(92, 100, 140), light=(168, 176, 214),
    ),
}  # fmt: skip

BUILDING_COLOURS: dict[str, tuple[RGB, ...]] = {
    "brick": (
        (178, 58, 44), (222, 112, 70), (120, 38, 42), (236, 182, 140), (150, 84, 56),
        (246, 226, 198), (206, 82, 98), (88, 54, 48), (228, 152, 44), (60, 44, 58),
    ),
    "stone": (
        (196, 190, 178), (128, 130, 136), (226, 206, 164), (84, 90, 102), (160, 150, 120),
        (240, 238, 230), (112, 124, 104), (176, 140, 128), (52, 54, 60), (148, 168, 188),
    ),
    "glass": (
        (40, 150, 190), (120, 206, 214), (30, 84, 160), (196, 230, 240), (24, 118, 112),
        (92, 92, 190), (60, 190, 150), (20, 42, 86), (156, 148, 226), (230, 120, 170),
    ),
    "timber": (
        (132, 86, 44), (196, 148, 88), (84, 54, 32), (74, 122, 64), (224, 190, 60),
        (238, 228, 206), (158, 40, 36), (38, 74, 70), (190, 108, 40), (52, 62, 104),
    ),
}  # fmt: skip

PROP_COLOURS: tuple[RGB, ...] = (
    (46, 122, 58), (134, 178, 60), (214, 120, 36), (226, 92, 130), (168, 110, 214), (236, 214, 84),
)  # fmt: skip
