"""What VBench's dimensions have in common as metrics: their settings, and the networks that they run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longtake.evaluators.base import Metric, MetricRun
from longtake.evaluators.vbench.known import Known
from longtake.evaluators.vbench.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView


class VBenchMetric(Metric):
    """Built with the settings of its suite."""

    deviations = (
        "What the protocol and `compat` say; docs/vbench.md has every difference, and what is not brought back."
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    compat: ClassVar[tuple[str, ...]] = ()  # the official defects that it can show

    def cache_settings(self) -> dict[str, Any]:
        return {"compat": [name for name in self.compat if self.settings.allows(name)]}


class RatedFrames(MetricRun):
    """A clip scores the mean of its frames' ratings, over the highest there is. A frame is rated once."""

    highest: ClassVar[float]

    def __init__(self, model_pool: ModelPool) -> None:
        self.model_pool = model_pool
        self.known: Known[float] = Known()

    def clip(self, view: ClipView) -> float:
        ratings = self.known.of(view, range(len(view)), lambda missing: self.scores(view, missing))
        return sum(ratings) / len(ratings) / self.highest

    @abstractmethod
    def scores(self, view: ClipView, missing: list[int]) -> list[float]:
        """The ratings of the frames at these places of the clip."""


def in_batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def run_over(network: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> list[Tensor]:
    """The network's output for each input, on the CPU, in the output's dtype. All batches are queued before the host
    waits for a GPU."""
    import torch

    with torch.inference_mode():
        answers = [network(batch) for batch in batches]
    return list(torch.cat(answers).cpu())
