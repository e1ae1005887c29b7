"""Families in a sweep: which takes share a rollout, what it costs, and when their scores begin."""

import dataclasses
from pathlib import Path

import pytest

from longtake.jobs.sweep.estimates.busy_time import EVALUATORS, SAMPLERS
from longtake.jobs.sweep.estimates.cost import TakeCost
from longtake.jobs.sweep.families import families_of, make_items, shared_costs
from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.run import run
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.platform.prompts import Switch
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.workers.fleet import Item, Outcome, Running
from tests.jobs import tiny

TINY = Take("tiny", MethodSpec("rag", "rag"), 3, 12, "p", 0)


def takes_of(seeds: int, *lengths: int) -> list[Take]:
    return [dataclasses.replace(TINY, seconds=s, latent_frames=4 * s, seed=k) for s in lengths for k in range(seeds)]


def shape(item: Item) -> list[tuple[int, int]]:
    """(seconds, seed) of its takes."""
    return [(take.seconds, take.seed) for take in item.payload.takes]


def test_takes_that_differ_in_more_than_their_length_are_of_other_families() -> None:
    others = [
        dataclasses.replace(TINY, seed=1),
        dataclasses.replace(TINY, prompt="q"),
        dataclasses.replace(TINY, prefix_frames=3),
        dataclasses.replace(TINY, backbone="tiny-wild"),
        dataclasses.replace(TINY, fingerprint=(("weights", "0"),)),
        dataclasses.replace(TINY, method=MethodSpec("rag", "other")),
        dataclasses.replace(TINY, switches=(Switch(1.5, "q", frame=6),)),
    ]
    assert len(families_of([TINY, *others])) == 1 + len(others)
    (family,) = families_of([TINY, dataclasses.replace(TINY, seconds=6, latent_frames=24)])
    assert [take.seconds for take in family] == [6, 3]


def test_families_of_one_longest_length_are_a_batch() -> None:
    """Seed 0 has lost its 6 s take, so its family is another batch; a suspect has an item of its own."""
    takes = [take for take in takes_of(4, 3, 6) if (take.seconds, take.seed) != (6, 0)]
    items = make_items(takes, batch=8, together=True, runs_alone=lambda take: (take.seconds, take.seed) == (3, 3))
    assert sorted(map(shape, items)) == [[(3, 0)], [(3, 3)], [(6, 1), (3, 1), (6, 2), (3, 2), (6, 3)]]
    assert sorted((item.size, item.label) for item in items) == [
        (12.0, "tiny/rag/3s"),
        (12.0, "tiny/rag/3s"),
        (72.0, "tiny/rag/6s x 3"),
    ]
    assert [len(item.payload.takes) for item in make_items(takes_of(4, 3, 6), batch=2, together=True)] == [4, 4]
    apart = make_items(takes_of(2, 3, 6), batch=8, together=False)
    assert sorted(map(shape, apart)) == [[(3, 0), (3, 1)], [(6, 0), (6, 1)]]


def test_a_rollout_costs_what_its_longest_take_does_and_the_encoding_of_the_others() -> None:
    """Making 3, 6 and 12 s costs 10, 20 and 40 s of a core, a tenth of it for encoding, and 1, 2 and 4 s of a GPU.
    Seed 0 has all three: 10, 20 - 10 + 1, 40 - 20 + 2 s. Seed 1 has no 3 s take to make: 20, 40 - 20 + 2 s."""
    takes = [take for take in takes_of(2, 3, 6, 12) if (take.seconds, take.seed) != (3, 1)]
    cells = {take.seconds: take.cell for take in takes}
    costs = {cells[s]: TakeCost(s / 0.3, 1.0, 1.0, s / 0.3, s / 3, s / 3, 1.0, 1.0, 1.0) for s in (3, 6, 12)}
    shared = shared_costs(costs, families_of(takes))
    assert [shared[cells[s]].cpu_seconds for s in (3, 6, 12)] == pytest.approx([10, (11 + 20) / 2, 22])
    assert [shared[cells[s]].gpu_seconds for s in (3, 6, 12)] == pytest.approx([1, (1 + 2) / 2, 2])
    assert shared[cells[6]].make_seconds == pytest.approx(15.5)
    assert shared[cells[3]].score_seconds == 1.0
    whole = sum(shared[take.cell].cpu_seconds for take in takes)
    assert whole == pytest.approx(40 + 1 + 2 + 40 + 2)
    assert shared_costs(costs, families_of(takes, together=False)) == costs


def test_a_take_is_scored_while_its_family_goes_on(tmp_path: Path) -> None:
    """The report names it once its files are there; the end of the item does not schedule it again."""
    grid = expand(tiny.write_sweep(tmp_path), ["methods=[native]"])
    store = SweepStore(tmp_path / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    scheduler = Scheduler(store, grid.takes, grid.suites, lambda line: None)
    ((_, item),) = scheduler.start(scheduler.read(), batch=8)
    short = [take for take in grid.takes if take.seconds == 3]
    running = Running(SAMPLERS, "w", item, report={"done": 4, "total": 8, "made": [take.id for take in short]})
    assert scheduler.record_reports([running]) == [], "the files are not there yet"
    results = {take.id: result for take, result in zip(grid.takes, made(store, grid.takes), strict=True)}

    steps = scheduler.record_reports([running])
    assert [(group, step.payload.take.id) for group, step in steps] == [(EVALUATORS, take.id) for take in short]
    assert scheduler.made == {take.id for take in short}
    assert scheduler.record_reports([running]) == [], "once"
    value = [results[take.id] for take in item.payload.takes]
    steps = scheduler.record_outcome(Outcome(SAMPLERS, item, value))
    assert {step.payload.take.seconds for _, step in steps} == {6}
    assert len(scheduler.results) == len(grid.takes) == len(scheduler.made)


def made(store: SweepStore, takes: list[Take]) -> list:
    return SamplerWorker(store).run(MakeItem(tuple(takes)), lambda report: None)


@pytest.mark.parametrize("died", [True, False])
def test_what_is_done_of_a_broken_family_is_not_made_again(tmp_path: Path, died: bool) -> None:
    """After a death the rest runs together, after an error each by itself."""
    grid = expand(tiny.write_sweep(tmp_path), ["methods=[native]"])
    store = SweepStore(tmp_path / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    said: list[str] = []
    scheduler = Scheduler(store, grid.takes, grid.suites, said.append)
    ((_, item),) = scheduler.start(scheduler.read(), batch=8)
    short = [take for take in grid.takes if take.seconds == 3]
    made(store, short)
    scheduler.record_reports([Running(SAMPLERS, "w", item, report={"made": [take.id for take in short]})])
    steps = scheduler.record_outcome(Outcome(SAMPLERS, item, error=RuntimeError("gone"), died=died))
    assert {take.seconds for _, step in steps for take in step.payload.takes} == {6}
    assert [len(step.payload.takes) for _, step in steps] == ([2] if died else [1, 1])
    assert said == [
        f"tiny/native/6s: retrying 2 takes {'together' if died else 'one at a time'} after " + said[0][-18:]
    ]


def test_a_sweep_has_the_same_results_with_and_without_families(tmp_path: Path) -> None:
    folders = [tmp_path / "together", tmp_path / "apart"]
    for folder, words in zip(folders, ([], ["workers.families=false"]), strict=True):
        folder.mkdir()
        assert run(tiny.write_sweep(folder), words) == 0
    together, apart = (SweepStore(folder / "runs", "small") for folder in folders)
    for take_id in sorted(apart.done_ids()):
        assert together.video(take_id).read_bytes() == apart.video(take_id).read_bytes()
    assert (together.folder / "ranks.json").read_bytes() == (apart.folder / "ranks.json").read_bytes()
