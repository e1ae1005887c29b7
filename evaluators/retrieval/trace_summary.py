"""Rows of a trace table: the mean over the blocks of each prompt, then mean and interval over prompts.

A cell accumulates takes and keeps a sum and a count per prompt, part and measure, whatever the number of blocks. Takes
of one prompt (seeds) are pooled. A row without a mean has a reason.

Legend: P prompts of the sweep, in the same order for all cells.
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
    """Sums and counts of one cell; `seconds`: the length of its videos."""

    prompts: int
    seconds: float
    sums: dict[tuple[Span, str], Array] = field(default_factory=dict)
    counts: dict[tuple[Span, str], Array] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    made: set[Span] = field(default_factory=set)

    def add(self, prompt: int, starts_N: Array, measured: Measured) -> None:
        """Add a take of prompt number `prompt`."""
        for span in spans(self.seconds):
            inside_N = (span[0] <= starts_N) & (starts_N < span[1])
            if inside_N.any():
                self.made.add(span)
                self.add_part(prompt, span, inside_N, measured)

    def add_part(self, prompt: int, span: Span, inside_N: Mask, measured: Measured) -> None:
        for name, values_N in measured.items():
            if isinstance(values_N, str):
                self.reasons.setdefault(name, values_N)
                continue
            part = values_N[inside_N]
            for total, value in ((self.sums, np.nansum(part)), (self.counts, np.isfinite(part).sum())):
                total.setdefault((span, name), np.zeros(self.prompts))[prompt] += value

    def rows(self) -> list[dict[str, Any]]:
        """Rows by part (the whole video first) and measure, for parts with generated blocks; `reason`: why no mean."""
        rows = []
        for span in (span for span in spans(self.seconds) if span in self.made):
            for name in MEASURES:
                means = estimate(self.means((span, name))).to_json()
                reason = self.reasons.get(name, NOTHING) if means["mean"] is None else ""
                rows.append({"from_s": span[0], "to_s": span[1], "measure": name, **means, "reason": reason})
        return rows

    def means(self, key: tuple[Span, str]) -> Array:
        """[P]; NaN for a prompt without a value."""
        nothing = np.zeros(self.prompts)
        sums, counts = self.sums.get(key, nothing), self.counts.get(key, nothing)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
