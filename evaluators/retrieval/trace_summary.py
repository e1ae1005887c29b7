"""From blocks to rows of a table: the mean over the blocks of a prompt, then mean and interval over prompts.

A cell grows take by take and holds two numbers per prompt, part and measure, however many blocks there are. Takes of
one prompt (seeds) are pooled. A row without a mean carries the reason.

Legend: P prompts of the sweep, in one order for all cells, so that intervals use the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from longtake.evaluators.retrieval.summary import Span, spans
from longtake.evaluators.retrieval.trace_measures import MEASURES, Measured
from longtake.evaluators.retrieval.world import Array, Mask
from longtake.platform.stats import estimate

NOTHING = "no block of this part has a value"


@dataclass
class CellSums:
    """One cell's sums and counts; `seconds` is the length of its videos."""

    prompts: int
    seconds: float
    sums: dict[tuple[Span, str], Array] = field(default_factory=dict)
    counts: dict[tuple[Span, str], Array] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    made: set[Span] = field(default_factory=set)

    def add(self, prompt: int, begins_N: Array, measured: Measured) -> None:
        """A take of prompt number `prompt`."""
        for span in spans(self.seconds):
            inside_N = (span[0] <= begins_N) & (begins_N < span[1])
            if inside_N.any():
                self.made.add(span)
                self.add_part(prompt, span, inside_N, measured)

    def add_part(self, prompt: int, span: Span, inside_N: Mask, measured: Measured) -> None:
        for name, values_N in measured.items():
            if isinstance(values_N, str):
                self.reasons.setdefault(name, values_N)
                continue
            part = values_N[inside_N]
            for kept, more in ((self.sums, np.nansum(part)), (self.counts, np.isfinite(part).sum())):
                kept.setdefault((span, name), np.zeros(self.prompts))[prompt] += more

    def rows(self, draws_BP: Array) -> list[dict[str, Any]]:
        """A row per part that has generated blocks, the whole first, and measure; `reason` is empty beside a mean."""
        rows = []
        for span in (span for span in spans(self.seconds) if span in self.made):
            for name in MEASURES:
                told = estimate(self.means((span, name)), draws_BP).to_json()
                reason = self.reasons.get(name, NOTHING) if told["mean"] is None else ""
                rows.append({"from_s": span[0], "to_s": span[1], "measure": name, **told, "reason": reason})
        return rows

    def means(self, key: tuple[Span, str]) -> Array:
        """[P]; NaN for a prompt without a value."""
        nothing = np.zeros(self.prompts)
        sums, counts = self.sums.get(key, nothing), self.counts.get(key, nothing)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
