"""The seven official dimension functions of vbench 0.1.5 with seeded networks. Runs in the official environment.

Each scores a list of clips and answers one number per clip, in order. Nothing of VBench is changed but where its
models come from; of dynamic degree the numbers behind the boolean are kept too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from networks import built
from torch import nn

Clips = list[str]


def clip_model(artefact: str) -> nn.Module:
    """An image tower that answers to `encode_image`, as clip's model does in float32."""
    tower = built(artefact)
    tower.encode_image = tower.forward
    return tower


def subject_consistency(clips: Clips) -> list[dict[str, Any]]:
    from vbench.subject_consistency import subject_consistency as official

    return official(built("dino-vitb16"), clips, "cpu", False)[1]


def background_consistency(clips: Clips) -> list[dict[str, Any]]:
    from vbench.background_consistency import background_consistency as official

    return official(clip_model("clip-vit-b-32"), None, clips, "cpu", False)[1]


def aesthetic_quality(clips: Clips) -> list[dict[str, Any]]:
    from vbench.aesthetic_quality import laion_aesthetic as official

    return official(built("aesthetic-linear"), clip_model("clip-vit-l-14"), clips, "cpu")[1]


def imaging_quality(clips: Clips) -> list[dict[str, Any]]:
    """0 to 100 per clip, as the official function answers; it divides by 100 only in the mean."""
    from vbench.imaging_quality import technical_quality as official

    with torch.no_grad():
        return official(built("musiq-spaq"), clips, "cpu")[1]


def motion_smoothness(clips: Clips) -> list[dict[str, Any]]:
    from vbench.motion_smoothness import MotionSmoothness
    from vbench.motion_smoothness import motion_smoothness as official

    class Seeded(MotionSmoothness):
        def load_model(self) -> None:
            self.model = built("amt-s")

    return official(Seeded(None, None, "cpu"), clips)[1]


def dynamic_degree(clips: Clips) -> list[dict[str, Any]]:
    """Each result also has `pairs`, the mean of the fastest 5 % of every pair in px, and what they are held to."""
    from vbench.dynamic_degree import DynamicDegree
    from vbench.dynamic_degree import dynamic_degree as official

    class Seeded(DynamicDegree):
        def load_model(self) -> None:
            self.model, self.kept = built("raft-things"), []

        def check_move(self, score_list: list[float]) -> bool:
            self.kept.append(
                {"pairs": score_list, "threshold": self.params["thres"], "count": self.params["count_num"]}
            )
            return super().check_move(score_list)

    model = Seeded(None, "cpu")
    return [result | kept for result, kept in zip(official(model, clips)[1], model.kept, strict=True)]


def temporal_flickering(clips: Clips) -> list[dict[str, Any]]:
    from vbench.temporal_flickering import temporal_flickering as official

    return official(clips)[1]


DIMENSIONS: dict[str, Callable[[Clips], list[dict[str, Any]]]] = {
    "subject_consistency": subject_consistency,
    "background_consistency": background_consistency,
    "motion_smoothness": motion_smoothness,
    "dynamic_degree": dynamic_degree,
    "aesthetic_quality": aesthetic_quality,
    "imaging_quality": imaging_quality,
    "temporal_flickering": temporal_flickering,
}


def results(dimension: str, clips: list[Path]) -> list[dict[str, Any]]:
    """The official results per clip (`video_path`, `video_results`), in the order of `clips`."""
    return DIMENSIONS[dimension]([str(clip) for clip in clips])
