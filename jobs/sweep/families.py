"""Families: takes that differ only in their length are made in one rollout, since the shorter one is its beginning.

Puts takes into items for the samplers, and shares the estimated cost of a rollout between the takes that it makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from longtake.jobs.sweep.estimates.cost import TakeCost
from longtake.jobs.workers.sampling import MakeItem, by_family
from longtake.platform.takes import Cell, Take
from longtake.platform.workers.fleet import Item

Family = Sequence[Take]
"""Takes of one family, the longest first."""
NOTHING = TakeCost(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def families_of(takes: Iterable[Take], together: bool = True) -> list[Family]:
    """The takes by family; each by itself unless `together`."""
    return [*by_family(takes).values()] if together else [[take] for take in takes]


def make_items(
    takes: Iterable[Take], batch: int, together: bool, runs_alone: Callable[[Take], bool] = lambda take: False
) -> list[Item]:
    """Items of up to `batch` families whose longest takes are of one cell and whose prompts change at the same blocks.
    A take that `runs_alone` has an item of its own."""
    takes = list(takes)
    groups: dict[Hashable, list[Family]] = {}
    for family in families_of((take for take in takes if not runs_alone(take)), together):
        groups.setdefault((family[0].cell, family[0].switch_frames), []).append(family)
    items = [make_item(part) for families in groups.values() for part in batched(families, batch)]
    return items + [make_item([[take]]) for take in takes if runs_alone(take)]


def make_item(families: Sequence[Family]) -> Item:
    """One item that generates these families in a batch."""
    first, many = families[0][0], f" x {len(families)}" if len(families) > 1 else ""
    size = float(sum(family[0].latent_frames for family in families))
    takes = tuple(take for family in families for take in family)
    return Item(MakeItem(takes), size, first.backbone, f"{first.cell}{many}")


def batched(families: list[Family], most: int) -> Iterator[list[Family]]:
    """Split families into parts of at most `most`, as equal as possible."""
    parts = -(-len(families) // most)
    for i in range(parts):
        yield families[i * len(families) // parts : (i + 1) * len(families) // parts]


def shared_costs(costs: Mapping[Cell, TakeCost], families: Iterable[Family]) -> dict[Cell, TakeCost]:
    """The costs with, for each cell, what making one of its takes adds to the rollouts of these families, on average:
    what it costs beyond the next shorter one, and the encoding of that one's video. Other cells keep their cost."""
    added: dict[Cell, list[float]] = {}
    counts = Counter[Cell]()
    for family in families:
        counts.update(take.cell for take in family)
        for number, take in enumerate(family):
            cost, less = costs[take.cell], costs[family[number + 1].cell] if number + 1 < len(family) else NOTHING
            sums = added.setdefault(take.cell, [0.0, 0.0])
            sums[0] += cost.cpu_seconds - less.cpu_seconds + less.encode_seconds
            sums[1] += cost.gpu_seconds - less.gpu_seconds
    result = dict(costs)
    for cell, sums in added.items():
        cpu, gpu = (seconds / counts[cell] for seconds in sums)
        result[cell] = replace(costs[cell], cpu_seconds=cpu, gpu_seconds=gpu, make_seconds=max(cpu, gpu))
    return result
