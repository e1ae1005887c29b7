"""What VBench's dimensions have in common as metrics: their settings, and the networks that they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longtake.evaluators.base import Metric
from longtake.evaluators.vbench.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor


class VBenchMetric(Metric):
    """Built with the settings of its suite."""

    departs = "Nothing, under the protocol `exact` with every `compat`; see docs/vbench.md for what `direct` changes."

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    cares_for: ClassVar[tuple[str, ...]] = ()  # settings beside the protocol that its number depends on

    def marks(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in self.cares_for}


def in_batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def run_over(network: Callable[[Tensor], Tensor], inputs: Tensor, size: int, device: str) -> list[Tensor]:
    """The network's answer for each input, on the CPU in float32; at most `size` at a time."""
    import torch

    with torch.inference_mode():
        parts = [network(part.to(device)).float().cpu() for part in inputs.split(size)]
    return list(torch.cat(parts))
