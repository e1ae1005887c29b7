"""pocket: does a place look the same when the camera comes back? Pocket videos only, floors beside the values."""

from __future__ import annotations

from longtake.evaluators.base import Suite, suites


@suites.register("pocket")
class Pocket(Suite):
    name = "pocket"
    about = "against the pocket world's own truth; a '_floor' is what the same sum gives for wrong places"
    protocol = "direct"
    metrics = (
        "revisit_psnr",
        "revisit_psnr_floor",
        "revisit_hit",
        "revisit_hit_floor",
        "revisit_psnr_true",
        "revisit_psnr_true_floor",
        "revisit_hit_true",
        "revisit_hit_true_floor",
    )
