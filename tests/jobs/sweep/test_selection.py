"""--only and --max-takes: a part of a sweep now, the rest later, with the same plan and the same ids."""

from pathlib import Path

import pytest
from rich.console import Console

from longtake.jobs.cli import execute
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.sweep.report import report_left
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.sweep.selection import Selection, matches
from longtake.platform.errors import ConfigError
from longtake.platform.store.records import SCORING, Failure
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, MethodSpec, Take
from tests.jobs import tiny
from tests.jobs.upkeep.test_remake import commit

CELL = Cell("pocket-mem", "rag", 30)
TAKES = [
    Take(backbone, MethodSpec(method, method), seconds, seconds * 4, prompt, 0)
    for backbone in ("pocket", "pocket-mem")
    for method in ("native", "rag")
    for seconds in (30, 60)
    for prompt in ("a", "b", "c")
]


@pytest.mark.parametrize("pattern", ["pocket-mem", "rag", "30", "30s", "rag/30", "pocket*/rag", "*/*/30s", "p*m/r*/3?"])
def test_a_pattern_matches_neighbouring_parts(pattern: str) -> None:
    assert matches(CELL, pattern)


@pytest.mark.parametrize("pattern", ["", "pocket", "ra", "3", "0", "pocket-mem/30", "rag/pocket-mem", "a/b/c/d", "/"])
def test_a_pattern_is_of_whole_parts(pattern: str) -> None:
    assert not matches(CELL, pattern)


def test_several_patterns_add_up_and_keep_the_order() -> None:
    chosen = Selection(("pocket/native/30", "pocket-mem/rag/60")).of(TAKES)
    assert chosen == [*TAKES[:3], *TAKES[-3:]]


def test_max_takes_takes_one_of_each_cell_before_a_second() -> None:
    cells = list(dict.fromkeys(take.cell for take in TAKES))  # 8 cells of 3 takes
    assert [take.cell for take in Selection(max_takes=8).of(TAKES)] == cells
    ten = Selection(max_takes=10).of(TAKES)
    assert [take.prompt for take in ten].count("b") == 2
    assert {take.id for take in Selection(max_takes=8).of(TAKES)} < {take.id for take in ten}
    assert Selection(max_takes=100).of(TAKES) == TAKES
    assert len(Selection(("rag",), 5).of(TAKES)) == 5


def test_a_pattern_that_matches_nothing_names_what_there_is() -> None:
    with pytest.raises(ConfigError, match="--only: 'rga' matches no cell") as raised:
        Selection(("pocket", "rga")).check(TAKES)
    assert "did you mean 'rag'? known: pocket, pocket-mem" in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("pocket/rga/30", "pocket/rag/30"),
        ("pocket-mem/natve", "pocket-mem/native"),
        ("rga/60", "rag/60"),
        ("pocket/rag/30/0", "pocket/rag/30"),
        ("pocet", "pocket"),
    ],
)
def test_the_near_miss_has_as_many_parts_as_the_pattern(pattern: str, near: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Selection((pattern,)).check(TAKES)
    assert f"did you mean '{near}'? known: pocket, pocket-mem, native, rag, 30, 60" in str(raised.value)


def test_plan_prices_the_selected_takes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["plan", str(tiny.write_sweep(tmp_path)), "--only", "rag/3"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "= 8 takes, of which --only rag/3 selects 2" in out
    assert "to do: make 2 takes" in out
    assert execute(["plan", str(tiny.write_sweep(tmp_path)), "--only", "rga"]) == 2


def left_of(store: SweepStore, grid: Grid, capfd: pytest.CaptureFixture[str]) -> str:
    """The line about the rest of the sweep, for a run that is over."""
    scheduler = Scheduler(store, grid.takes, grid.suites, lambda line: None)
    for take in grid.takes:
        scheduler.tally.set_scored(take)
    report_left(scheduler, grid, Console(width=300))
    return capfd.readouterr().out


def test_what_is_left_is_unscored_too_and_set_aside_takes_need_the_option(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = expand(tiny.write_sweep(tmp_path), selection=Selection(("native/3",)))
    store, others = SweepStore(tmp_path / "runs", "small"), [take for take in grid.planned if take not in grid.takes]
    store.write_plan(grid.config_yaml, grid.planned)
    assert "8 takes of the sweep; 6 are left; run again without --only native/3 to" in left_of(store, grid, capfd)
    for take in others:  # made, but not scored
        commit(store, take, 100)
    assert "6 are left; run again without --only native/3 to make and score them" in left_of(store, grid, capfd)
    for _ in range(3):
        store.record_failure(others[0], Failure(SCORING, "no score"))
    out = left_of(store, grid, capfd)
    assert "5 are left; " in out
    assert "; 1 set aside after failures; add --retry-failed to try them again" in out


@pytest.mark.slow
def test_a_part_now_and_the_rest_later_are_one_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = str(tiny.write_sweep(tmp_path))
    killed = SweepStore(tmp_path / "runs", "small").video(expand(sweep).planned[-1].id).with_name(".tmp-1.video.mp4")
    killed.parent.mkdir(parents=True)  # of an earlier run of the whole sweep, in a cell that is not selected now
    killed.write_bytes(b"part of a video")
    assert execute(["run", sweep, "--only", "native/3", "--max-takes", "1"]) == 0
    assert not killed.exists()
    out = capfd.readouterr().out
    assert "small: 1 of 8 takes, in " in out
    assert "7 are left; run again without --only native/3 --max-takes 1 to make and score them" in out
    store = SweepStore(tmp_path / "runs", "small")
    (made,) = store.done_ids()
    assert len(store.plan()) == 8
    stamp = store.video(made).stat().st_mtime_ns
    assert execute(["leaderboard", str(tmp_path / "runs"), "--full"]) == 0
    assert (
        "1 of 8 takes scored; missing: tiny/native/3s (1), tiny/native/6s (2), tiny/rag/3s (2)"
        in capfd.readouterr().out
    )
    assert execute(["run", sweep]) == 0
    assert store.done_ids() == {take.id for take in store.plan()}
    assert store.video(made).stat().st_mtime_ns == stamp
    out = capfd.readouterr().out
    assert "missing" not in out
    assert ", 6 s, 2 prompts\n" in out
    assert execute(["run", sweep, "--only", "native/3"]) == 0
    assert ", 3 s, 2 prompts\n" in capfd.readouterr().out, "the board of the length of the selected cell"
