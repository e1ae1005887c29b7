"""Base classes of VBench's dimensions as metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longtake.evaluators.base import Metric, MetricRun
from longtake.evaluators.vbench.frame_cache import FrameCache
from longtake.evaluators.vbench.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView


class VBenchMetric(Metric):
    """A metric that is built with the settings of its suite."""

    deviations = (
        "Those of the protocol and `compat`; docs/vbench.md lists every difference and what `compat` does not restore."
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    compat: ClassVar[tuple[str, ...]] = ()  # official defects that it can reproduce

    def cache_settings(self) -> dict[str, Any]:
        return {"compat": [name for name in self.compat if self.settings.allows(name)]}


class FrameRatings(MetricRun):
    """Scores a clip by the mean rating of its frames, divided by the highest rating. Rates each frame once."""

    highest: ClassVar[float]

    def __init__(self, model_pool: ModelPool) -> None:
        self.model_pool = model_pool
        self.cache: FrameCache[float] = FrameCache()

    def clip(self, view: ClipView) -> float:
        ratings = self.cache.of(view, range(len(view)), lambda missing: self.scores(view, missing))
        return sum(ratings) / len(ratings) / self.highest

    @abstractmethod
    def scores(self, view: ClipView, missing: list[int]) -> list[float]:
        """The ratings of the frames at indices `missing` of the clip."""


def split_batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def run_over(network: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> list[Tensor]:
    """The network's output for each input, on the CPU, in the output's dtype. All batches are queued before the host
    waits for a GPU."""
    import torch

    with torch.inference_mode():
        outputs = [network(batch) for batch in batches]
    return list(torch.cat(outputs).cpu())
