"""What a board supports: which of its cells can be told apart, and one line about the best two methods.

Tests are exact paired sign-flip tests over prompts, with Holm's correction over all pairs of cells of the board. Below
stats.MIN_PROMPTS no p can be under 0.05, and with many comparisons more are needed: then nothing is marked. Reads no
files.

Legend: C cells, K pairs of cells, P prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from longtake.platform import stats
from longtake.platform.names import counted


@dataclass(frozen=True)
class Headline:
    """The metric in which a suite's verdicts are given."""

    metric: str
    unit: str

    @property
    def words(self) -> str:
        """'dB', or 'of revisit hit' for a unit that is only a scale, such as '0..1'."""
        return self.unit if self.unit.isalpha() and self.unit != "share" else f"of {self.metric.replace('_', ' ')}"


@dataclass(frozen=True)
class Measured:
    """A quantity of the cells of a board. `values_CP`: per prompt, higher is better; `words`: its unit or name;
    `most`: the greatest possible difference."""

    values_CP: stats.Array
    words: str
    most: float = math.inf

    def difference(self, better: int, worse: int) -> stats.Array:
        """[P]; NaN where one of the two has no value."""
        difference_P: stats.Array = self.values_CP[better] - self.values_CP[worse]
        return np.where(np.abs(difference_P) < stats.ROUNDING, 0.0, difference_P)

    def pair_p(self) -> dict[tuple[int, int], float]:
        """p of every pair of cells with a value for a common prompt, after Holm's correction over these pairs."""
        pairs = list(combinations(range(len(self.values_CP)), 2))
        differences_KP = np.array([self.difference(*pair) for pair in pairs]).reshape(len(pairs), -1)
        common_K = np.isfinite(differences_KP).any(axis=1)
        p_K = stats.holm(stats.sign_flip_p(differences_KP[common_K]))
        known = [pair for pair, common in zip(pairs, common_K, strict=True) if common]
        return dict(zip(known, p_K.tolist(), strict=True))


def groups(ranks_PC: stats.Array, order: Sequence[int]) -> dict[int, str]:
    """Cell -> letters, from the average rank of the cells within each prompt: two cells with a common letter are not
    separable. `order`: the cells with a rank, best first. {} for too few prompts or cells."""
    if len(ranks_PC) < stats.MIN_PROMPTS or len(order) < 2:
        return {}
    p = Measured(-ranks_PC[:, list(order)].T, "rank").pair_p()
    separable_CC = np.zeros((len(order), len(order)), dtype=bool)
    for (one, other), value in p.items():
        separable_CC[one, other] = separable_CC[other, one] = value < stats.LEVEL
    return dict(zip(order, letters(separable_CC), strict=True))


def letters(separable_CC: NDArray[np.bool_]) -> list[str]:
    """One text per cell; two cells share a letter if and only if they are not separable. The first cells have the first
    letters (H.-P. Piepho, J. Comput. Graph. Statist. 13, 2004: insert and absorb)."""
    count = len(separable_CC)
    alike = [frozenset(range(count))]
    for one, other in zip(*np.nonzero(np.triu(separable_CC, 1)), strict=True):
        split = [part for cells in alike for part in _without_both(cells, int(one), int(other))]
        alike = [cells for cells in dict.fromkeys(split) if not any(cells < larger for larger in split)]
    alike.sort(key=sorted)
    return ["".join(_letter(i) for i, cells in enumerate(alike) if cell in cells) for cell in range(count)]


def _without_both(cells: frozenset[int], one: int, other: int) -> list[frozenset[int]]:
    return [cells - {other}, cells - {one}] if {one, other} <= cells else [cells]


def _letter(number: int) -> str:
    return ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"


def verdict(names: Sequence[str], measured: Sequence[Measured], better: int, worse: int, unequal: str = "") -> str:
    """The line about two cells: in the first of `measured` in which `better` is ahead. `unequal`: what to say of
    `better` if the two attend different numbers of frames.

    'random-memory beats rag by 6.7 dB [5.9, 7.4] in 3 of 3 prompts; too few to be sure'
    'rag (attends 12 frames against 21) leads ema-sink by 1.2 dB [-0.3, 2.7] in 2 of 3 prompts; too few to be sure'
    """
    who = f"{names[better]} ({unequal})" if unequal else names[better]
    for one in measured:
        difference_P = one.difference(better, worse)
        found = stats.estimate(difference_P).within(-one.most, one.most)
        if found.mean is not None and found.mean > 0:
            ahead = int((difference_P > 0).sum())
            is_sure, why = _judged(one, found, better, worse)
            verb = "beats" if is_sure or ahead == found.prompts else "leads"
            amount = f"{_amount(found, one.words)} in {ahead} of {counted(found.prompts, 'prompt')}"
            return f"{who} {verb} {names[worse]} by {amount}{why}"
    return f"{who} and {names[worse]} are not separable in {counted(measured[0].values_CP.shape[1], 'prompt')}"


def _amount(found: stats.Estimate, words: str) -> str:
    """'6.7 dB [5.9, 7.4]': two significant digits of the difference, or of the interval if that is wider."""
    assert found.mean is not None
    half = 0.0 if found.low is None or found.high is None else (found.high - found.low) / 2
    digits = max(_decimals(max(found.mean, half), 2), _decimals(found.mean, 1))
    bounds = "" if found.low is None else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return f"{found.mean:.{digits}f} {words}{bounds}"


def _decimals(value: float, significant: int) -> int:
    return max(0, significant - 1 - int(f"{value:.{significant - 1}e}".partition("e")[2]))


def _judged(one: Measured, found: stats.Estimate, better: int, worse: int) -> tuple[bool, str]:
    """(whether the cells are separable, the words for it)."""
    if found.prompts < stats.MIN_PROMPTS:
        return False, "; too few to be sure"
    p = one.pair_p()
    value = p[min(better, worse), max(better, worse)]
    tested = f"p = {value:.2g}, Holm over {counted(len(p), 'comparison')}"
    if value < stats.LEVEL:
        return True, f" ({tested})"
    return False, f"; not separable ({impossible(one.values_CP.shape[1], len(p)) or tested})"


def too_few(prompts: int, comparisons: int) -> str:
    """Why nothing is marked; '' with enough prompts for so many comparisons."""
    if prompts >= stats.MIN_PROMPTS:
        why = impossible(prompts, comparisons)
        return f"no difference is marked: {why}" if why else ""
    most = 2.0 ** (1 - (stats.MIN_PROMPTS - 1))
    return (
        f"{counted(prompts, 'prompt')}: no difference is marked; an exact test needs {stats.MIN_PROMPTS} prompts for "
        f"p < {stats.LEVEL:.2g} ({stats.MIN_PROMPTS - 1} that all agree: 2 x 2^-{stats.MIN_PROMPTS - 1} = {most:.3g})"
    )


def impossible(prompts: int, comparisons: int) -> str:
    """Says that no p can be small enough, even if all prompts agree; '' if one can."""
    if stats.smallest_p(prompts, comparisons) < stats.LEVEL:
        return ""
    both = f"{counted(prompts, 'prompt')} and {counted(comparisons, 'comparison')}"
    return f"p < {stats.LEVEL:.2g} is impossible with {both}"
