"""change_newest, change_former, change_neither: of a place that changed out of view, which look does a video recall?

Only for pocket takes whose prompt changes houses and whose prefix shows them before and after. A memory should show
what the viewer saw last: to recall the former look is an error. The three shares add up to 1.
"""

from __future__ import annotations

from typing import ClassVar

from longtake.evaluators.base import Metric, MetricRun, VideoContext, metrics
from longtake.evaluators.revisit.change import ChangeRun, Look
from longtake.platform.errors import ConfigError
from longtake.platform.pocket.prompts import parse


class ChangeMetric(Metric):
    unit = "share"
    bounds = (0.0, 1.0)
    needs_take = True
    look: ClassVar[Look]
    deviations = (
        "Longtake's own metric, for pocket videos only. Latent frame i is video frame 4 i, averaged over 4x4 px; a "
        "column has the look of the nearest true column."
    )

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Only a prompt that changes houses."""
        try:
            return ctx.prompt is None or parse(ctx.prompt).change is not None
        except ConfigError:
            return True

    def open(self, ctx: VideoContext) -> MetricRun:
        return ChangeRun(ctx, self.look)


@metrics.register("change_newest")
class ChangeNewest(ChangeMetric):
    """Share of returning changed columns that look as after the change."""

    name = "change_newest"
    direction = "higher"
    look = "newest"


@metrics.register("change_former")
class ChangeFormer(ChangeMetric):
    """Share of returning changed columns that look as before the change: stale memory."""

    name = "change_former"
    direction = "lower"
    look = "former"


@metrics.register("change_neither")
class ChangeNeither(ChangeMetric):
    """Share of returning changed columns that look like another place or like none."""

    name = "change_neither"
    direction = "lower"
    ranked = False
    look = "neither"
