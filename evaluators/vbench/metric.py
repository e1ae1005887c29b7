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

    departs = "What the protocol and `compat` say; docs/vbench.md has every difference, and what is not brought back."

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    compat: ClassVar[tuple[str, ...]] = ()  # the official defects that it can show

    def marks(self) -> dict[str, Any]:
        return {"compat": [name for name in self.compat if self.settings.allows(name)]}


def in_batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def run_over(network: Callable[[Tensor], Tensor], inputs: Tensor, size: int, device: str) -> list[Tensor]:
    """The network's answer for each input, on the CPU, as precise as it was given; at most `size` at a time."""
    import torch

    with torch.inference_mode():
        parts = [network(part.to(device)).cpu() for part in inputs.split(size)]
    return list(torch.cat(parts))
