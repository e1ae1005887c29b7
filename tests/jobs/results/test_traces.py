"""`longtake traces`: numbers counted by hand from written traces, a really made sweep, one line a mistake."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.evaluators.retrieval.trace_measures import MEASURES
from longtake.evaluators.retrieval.trace_summary import CellSums
from longtake.jobs.cli import execute
from longtake.jobs.console import PLAIN_WIDTH
from longtake.jobs.results import traces as job
from longtake.platform.store.durable import json_lines
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter
from tests.jobs import tiny

PROMPTS = [f"{look}; pan right 3 s, left 3 s, repeat" for look in ("dusk, brick", "noon, stone")]
WINDOW = {"window": 6, "sink": 1}
RAG = MethodSpec("rag", "rag", {**WINDOW, "top_k": 2, "recency_guard": 1})
NATIVE = MethodSpec("native", "native", dict(WINDOW))
GIVEN, FRAMES = 12, 24
RETRIEVED = {9: [(1, 0.5), (2, 0.5)], 12: [(1, 0.8), (5, 0.6)], 15: [(8, 1.0), (7, 0.9)]}
RETRIEVED |= {18: [(7, 0.9), (11, 0.7)], 21: [(13, 0.5), (9, 0.3)]}


def take(method: MethodSpec = RAG, prompt: str = PROMPTS[0], backbone: str = "tiny", start: int = GIVEN) -> Take:
    return Take(backbone, method, 6, FRAMES, prompt, 0, start)


def row(first: int, memory: list[tuple[int, float | None]], shares: list[float] | None = None) -> dict[str, Any]:
    """Sink, memory, block: a window of 6 has no room for more beside two frames of memory."""
    attended: list[list[Any]] = [[0, 0, "sink", None]] if first else []
    attended += [[frame, 0, "retrieved", similarity] for frame, similarity in memory]
    attended += [[first + i, 3 + i, "block", None] for i in range(3)]
    told = {"block": first // 3, "first": first, "given": first < GIVEN, "query": [3, 4, 5], "attended": attended}
    return told if shares is None else told | {"attention": shares}


def rag_trace(alike: float | None = None, attention: bool = False) -> list[dict[str, Any]]:
    rows = []
    for first in range(0, FRAMES, 3):
        memory = [(frame, s if alike is None else alike) for frame, s in RETRIEVED.get(first, [])]
        shares = [0.1, 0.2, 0.1, 0.2, 0.2, 0.2] if first < 21 else [0.1, 0.3, 0.3, 0.1, 0.1, 0.1]
        rows.append(row(first, memory, shares if attention and first >= GIVEN else None))
    return rows


def make(store: SweepStore, made: Take, rows: list[dict[str, Any]]) -> None:
    """The take, done: a video of one frame, and the trace as given."""
    with store.open_take(made) as writer:
        with VideoWriter(writer.video_path, width=16, height=16) as video:
            video.write(np.zeros((1, 16, 16, 3), np.uint8))
        info = video.info
        assert info is not None
        writer.trace_path.write_bytes(json_lines(rows))
        facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
        writer.commit(TakeResult(made.id, *facts, trace_rows=len(rows)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SweepStore]:
    with SweepStore(tmp_path / "runs", "small").lock() as held:
        yield held


def shown(store: SweepStore, tmp_path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Method and measure -> the row of the CSV."""
    out = tmp_path / "figures" / "traces.csv"
    assert execute(["traces", str(store.folder), "--out", str(out)]) == 0
    with out.open() as file:
        return {(line["method"], line["measure"]): line for line in csv.DictReader(file)}


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    err = capfd.readouterr().err
    assert err.startswith("longtake: ")
    assert err.count("\n") == 1
    return err


def test_every_measure_of_one_video_counted_by_hand(store: SweepStore, tmp_path: Path) -> None:
    """The camera stands at column f up to frame 11, then at 10, 9, ... -1; a view is 8 columns. Generated: 4 blocks.

    Block 12 (columns 10 9 8) brings 8 into view, frame 1 (1 .. 8) shows it: 1. Eligible are 1 .. 5, none of which shows
    half of the query's view (11 .. 18). Block 15 (7 6 5) brings 5 6 7; frames 8 and 7 show 7 of them: 1/3; both show
    half of 8 .. 15. Block 18 (4 3 2) brings 2 3 4; frames 7 and 11 show none: 0; of 5 .. 12 frame 7 shows half, 11 does
    not. Block 21 (1 0 -1) brings 1 0 95, of which eligible frames (1 .. 14) show 1 alone; frames 13 and 9, both at
    column 9, do not: 0, and share nothing with half of 2 .. 9.

    Ages in frames 11 7 | 7 8 | 11 7 | 8 12: medians 9, 7.5, 9, 10, a quarter of that in seconds. Frame 13 of 8 was not
    given. Kept from the block before: 1 of 1 2, none of 1 5, 7 of 8 7, none of 7 11.
    Memory has 2 of 6 frames and .3 .3 .3 .6 of the attention: ratios .9 .9 .9 1.8.
    """
    only = take()
    store.write_plan("name: s\n", [only])
    make(store, only, rag_trace(attention=True))
    found = {name: float(line["mean"]) for (_, name), line in shown(store, tmp_path).items()}
    assert found == pytest.approx(
        {
            "memory_frames": 2.0,
            "similarity": (0.7 + 0.95 + 0.8 + 0.4) / 4,
            "best_similarity": (0.8 + 1.0 + 0.9 + 0.5) / 4,
            "age_s": (9 + 7.5 + 9 + 10) / 4 / 4,
            "from_start": (1 + 1 + 1 + 0.5) / 4,
            "again": (0.5 + 0 + 0.5 + 0) / 4,
            "attention_memory": (0.3 + 0.3 + 0.3 + 0.6) / 4,
            "attention_sink": 0.1,
            "attention_window": 0.0,
            "attention_block": (0.6 + 0.6 + 0.6 + 0.3) / 4,
            "attention_ratio": (0.9 + 0.9 + 0.9 + 1.8) / 4,
            "places": (2 + 2 + 2 + 1) / 4,
            "relevant": (1 + 0.5 + 0) / 3,
            "coverage": (1 + 1 / 3 + 0 + 0) / 4,
        }
    )


def test_means_are_over_prompts_and_what_is_missing_is_left_out(store: SweepStore, tmp_path: Path) -> None:
    """Similarities .7125 and .5: mean .60625, standard error .10625, t of one degree 12.7062. Attention was measured of
    one."""
    takes = [take(prompt=prompt) for prompt in PROMPTS]
    store.write_plan("name: s\n", takes)
    make(store, takes[0], rag_trace(attention=True))
    make(store, takes[1], rag_trace(alike=0.5))
    found = shown(store, tmp_path)
    alike, sink = found["rag", "similarity"], found["rag", "attention_sink"]
    assert [float(alike[key]) for key in ("mean", "low", "high")] == pytest.approx(
        [0.60625, 0.60625 - 1.35003, 0.60625 + 1.35003], abs=1e-4
    )
    assert (alike["prompts"], alike["reason"]) == ("2", "")
    assert (float(sink["mean"]), sink["low"], sink["prompts"]) == (pytest.approx(0.1), "", "1")


def test_seeds_of_a_prompt_are_one_prompt(store: SweepStore, tmp_path: Path) -> None:
    takes = [Take("tiny", RAG, 6, FRAMES, PROMPTS[0], seed, GIVEN) for seed in (0, 1)]
    store.write_plan("name: s\n", takes)
    make(store, takes[0], rag_trace(alike=0.2))
    make(store, takes[1], rag_trace(alike=0.6))
    alike = shown(store, tmp_path)["rag", "similarity"]
    assert (float(alike["mean"]), alike["low"], alike["prompts"]) == (pytest.approx(0.4), "", "1")


def test_missing_is_a_reason_and_not_zero(store: SweepStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A window alone; memory without similarity, a start or a camera; attention was never measured."""
    elsewhere = MethodSpec("random-memory", "random-memory", dict(RAG.params))
    takes = [take(NATIVE), take(elsewhere, "a cat", "self-forcing", start=0), take(RAG)]
    store.write_plan("name: s\n", takes)
    make(store, takes[0], [row(first, []) for first in range(0, FRAMES, 3)])
    blind = [row(first, [(frame, None) for frame, _ in RETRIEVED.get(first, [])]) for first in range(0, FRAMES, 3)]
    make(store, takes[1], blind)
    found = shown(store, tmp_path)
    assert all(found["native", name]["mean"] == "" for name in MEASURES)
    why = {key: line["reason"] for key, line in found.items()}
    assert why["native", "memory_frames"] == why["native", "coverage"] == "no memory method"
    assert why["native", "attention_block"] == "no attention measured"
    assert why["random-memory", "similarity"] == "the method compares no frames"
    assert why["random-memory", "from_start"] == "no frames were given"
    assert why["random-memory", "coverage"] == "no known camera"
    assert float(found["random-memory", "memory_frames"]["mean"]) == 2.0
    lines = capfd.readouterr().out.splitlines()
    assert "2 of 3 takes are done" in lines
    assert "-: no known camera: self-forcing/random-memory" in lines
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= PLAIN_WIDTH


def test_memory_that_never_had_anything_attended_no_frames(store: SweepStore, tmp_path: Path) -> None:
    """No frame is a number, 0; its age and likeness are not. What comes into view it did not show."""
    only = take(MethodSpec("rag", "rag-k0", {**RAG.params, "top_k": 0}))
    store.write_plan("name: s\n", [only])
    make(store, only, [row(first, []) for first in range(0, FRAMES, 3)])
    found = shown(store, tmp_path)
    assert float(found["rag-k0", "memory_frames"]["mean"]) == float(found["rag-k0", "coverage"]["mean"]) == 0.0
    for name in ("similarity", "age_s", "from_start", "again", "places"):
        assert (found["rag-k0", name]["mean"], found["rag-k0", name]["reason"]) == (
            "",
            "no block of this part has a value",
        )


def test_a_block_counts_in_the_part_in_which_it_begins() -> None:
    """A video of 240 s that was given up to 30 s: no row for that part; a prompt without a value is left out."""
    cell = CellSums(prompts=2, seconds=240.0)
    values = np.array([1.0, 2.0, 4.0, np.nan])
    cell.add(1, np.array([30.0, 59.0, 60.0, 239.0]), dict.fromkeys(MEASURES, "why") | {"age_s": values})
    rows = [row for row in cell.rows() if row["measure"] == "age_s"]
    assert [(row["from_s"], row["to_s"]) for row in rows] == [(0, 240), (30, 60), (60, 120), (120, 240)]
    assert [row["mean"] for row in rows] == [pytest.approx(7 / 3), 1.5, 4.0, None]
    assert [row["prompts"] for row in rows] == [1, 1, 1, 0]


@pytest.mark.slow
def test_a_made_sweep_tells_what_its_traces_say(tmp_path: Path) -> None:
    """24 frames in a window of 12 with R = 2, K = 4: blocks 15, 18, 21 have 1, 4, 7 eligible frames: (1 + 4 + 4) / 8.

    Both prompts share a camera, at column f up to frame 11 and then back. Block 15 looks at 7 6 5 and brings 5 6 7 into
    view, and frame 1 alone is eligible, which shows 1 .. 8: 1. Block 18 brings 2 3 4: frames 1 .. 4 are all that is
    eligible: 1. Block 21 brings 1 0 95, of which frames 1 .. 7 show 1, on frame 1 alone.
    """
    sweep = tiny.SWEEP.replace("cluster: inline", "cluster: inline, attention_shares: true")
    assert execute(["run", str(tiny.write_sweep(tmp_path, sweep)), "lengths_s=[6]"]) == 0
    store = SweepStore(tmp_path / "runs", "small")
    found = shown(store, tmp_path)
    value = {key: float(line["mean"]) for key, line in found.items() if line["mean"]}
    assert value["rag", "memory_frames"] == 9 / 8
    assert 0 < value["rag", "similarity"] <= value["rag", "best_similarity"] <= 1 + 1e-6
    traces = [store.trace(made.id) for made in store.plan() if made.method.name == "rag"]
    last = [[frame for frame, _, reason, _ in rows[7]["attended"] if reason == "retrieved"] for rows in traces]
    assert value["rag", "coverage"] == pytest.approx(np.mean([(2 + (1 in frames)) / 3 for frames in last]))
    for method, names in (("rag", ("memory", "sink", "window", "block")), ("native", ("sink", "window", "block"))):
        assert sum(value[method, f"attention_{name}"] for name in names) == pytest.approx(1, abs=1e-5)
    assert found["native", "attention_memory"]["reason"] == found["native", "age_s"]["reason"] == "no memory method"
    assert found["rag", "from_start"]["reason"] == "no frames were given"


def test_progress_is_told_when_it_takes_a_while(
    store: SweepStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    takes = [take(prompt=prompt) for prompt in PROMPTS]
    store.write_plan("name: s\n", takes)
    for made in takes:
        make(store, made, rag_trace())
    assert execute(["traces", str(store.folder)]) == 0
    assert "takes read" not in capfd.readouterr().out
    monkeypatch.setattr(job, "SHOW_SECONDS", 0.0)
    assert execute(["traces", str(store.folder)]) == 0
    assert "traces: 1 of 2 takes read" in capfd.readouterr().out


def test_a_folder_without_a_made_sweep_is_one_line_and_2(
    store: SweepStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["traces", str(tmp_path / "none")]) == 2
    assert "is not the folder of a sweep" in one_line(capfd)
    assert not (tmp_path / "none").exists()
    store.write_plan("name: s\n", [take()])
    assert execute(["traces", str(store.folder)]) == 2
    assert "0 of 1 take done yet" in one_line(capfd)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda lines: [*lines[:3], lines[3][:20], *lines[4:]], "row 4 of 8 is missing or damaged"),
        (lambda lines: lines[:7], "row 8 of 8 is missing or damaged"),
        (lambda lines: [*lines, lines[-1]], "has 9 rows, expected 8"),
        (lambda lines: [lines[0].replace("attended", "seen"), *lines[1:]], "row 1 of 8"),
        (lambda lines: ["[]", *lines[1:]], "row 1 of 8"),
        (lambda lines: [lines[0], json.dumps(row(3, [(960, 0.5)])), *lines[2:]], "row 2 of 8"),
        (lambda lines: [json.dumps(row(0, [], [0.5])), *lines[1:]], "row 1 of 8"),
        (lambda lines: [], "has no trace"),
    ],
)
def test_a_damaged_trace_is_one_line_and_5(
    damage: Any, told: str, store: SweepStore, capfd: pytest.CaptureFixture[str]
) -> None:
    only = take()
    store.write_plan("name: s\n", [only])
    make(store, only, rag_trace())
    trace = store.video(only.id).with_name("trace.jsonl")
    trace.write_text("".join(f"{line}\n" for line in damage(trace.read_text().splitlines())))
    assert execute(["traces", str(store.folder)]) == 5
    line = one_line(capfd)
    assert told in line
    assert only.id in line
    assert "run the sweep again" in line


def test_a_csv_that_cannot_be_written_is_one_line_and_5(store: SweepStore, capfd: pytest.CaptureFixture[str]) -> None:
    only = take()
    store.write_plan("name: s\n", [only])
    make(store, only, rag_trace())
    assert execute(["traces", str(store.folder), "--out", str(store.folder / "plan.jsonl" / "x.csv")]) == 5
    assert "plan.jsonl" in one_line(capfd)
