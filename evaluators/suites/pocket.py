"""pocket: does a place look the same when the camera returns to it? For pocket videos only."""

from __future__ import annotations

from longtake.evaluators.base import Suite, suites


@suites.register("pocket")
class Pocket(Suite):
    name = "pocket"
    about = "compared with the ground truth of the pocket world; a '_floor' is the same measure for wrong places"
    headline = "revisit_psnr"
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
