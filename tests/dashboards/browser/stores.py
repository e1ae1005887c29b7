"""Stores that the browser is shown: the demo's, one whose videos carry their frame numbers, one full of script strings.

Everything but what only a damaged or hostile store could hold is written through the store's own functions.
"""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.results.table import table
from longtake.jobs.cli import execute
from longtake.jobs.results import ranks as rank
from longtake.jobs.shipped import SWEEPS
from longtake.platform.prompts import Switch
from longtake.platform.store import durable
from longtake.platform.store.ranks import Coverage, RankedRun
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.store.training import TrainingFolder
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter

from ..test_embedder_figures import report as embedder_report

SQUARE_PX, GRID = 32, 4
NUMBER_BITS, CHECK = 9, 127
PAINTED_METHODS = ("one", "two", "three", "four")
PAINTED_FRAMES = {"one": 12.0, "two": 12.0, "three": 12.0, "four": 21.0}
CLIP_SECONDS = 2
# Method -> its worst clip of subject_consistency (higher is better) and of chroma_noise (lower is better).
WORST = {"one": (3, 11), "two": (5, 2), "three": (9, 6), "four": (12, 0)}
SUITE = SuiteEntry("classical", "classical")


def demo(root: Path) -> SweepStore:
    """The demo sweep, cut down to 4 takes of 30 s, and a training with its evaluation."""
    code = execute(
        [
            "run",
            str(SWEEPS / "demo.yaml"),
            "backbones=[pocket-mem]",
            "methods=[native, {rag: {top_k: 6, recency_guard: 5, descriptor: avg-pool}}]",
            "lengths_s=[30]",
            "prompts.limit=2",
            "workers.cluster=inline",
            "workers.attention_shares=true",
            "tracking.uri=disabled",
            f"output={root}",
        ]
    )
    assert code == 0
    training(root)
    return SweepStore(root, "demo")


def training(root: Path) -> None:
    """40 steps whose losses fall as 1/step, and an evaluation called alike."""
    folder = TrainingFolder(root, "mine")
    with folder.lock():
        folder.keep_config("name: mine\nsteps: 40\n")
        for step in range(1, 41):
            parts = {"reconstruction": 1 / step, "delta": 0.5 / step, "smooth": 0.25 / step}
            row = {"step": step, "total": 1.75 / step, **parts, "lr": 1e-3, "seconds": 0.2, "chunks_per_second": 150.0}
            folder.add_step(row)
            if step % 10 == 0:
                folder.add_validation({"step": step, "total": 2 / step, **parts, "best": True, "sha256": "0" * 64})
    durable.make_folder(root / "embedders" / "mine")
    facts = {"backbone": "pocket-mem", "prompts": ["dusk", "noon", "rain", "snow"], "latent_frames": 240, "seed": 0}
    report = embedder_report()
    whole = report | {"config": facts | report["config"], "id": "0" * 12, "protocol": 1}
    durable.replace_file(root / "embedders" / "mine" / "eval.json", durable.json_bytes(whole))


# Videos that carry their frame numbers


def painted(root: Path) -> list[Take]:
    """A sweep of 4 takes of one prompt, 30 s at 16 frames a second; every frame shows its index as squares."""
    store = SweepStore(root, "painted")
    specs = [MethodSpec("rag", name, {"top_k": k}) for k, name in enumerate(PAINTED_METHODS)]
    takes = [Take("pocket", spec, 30, 120, "a red door", 0) for spec in specs]
    with store.lock():
        store.write_plan("name: painted\nsuites: [classical]\n", takes)
        for take in takes:
            attended = PAINTED_FRAMES[take.method.label]
            commit(store, take, painted_frames(take.num_frames), rows=40, attended=attended)
            store.write_scores(take.id, scores_of(store, take))
        ranks = rank.refresh(store, takes, [SUITE])
        store.append_history(RankedRun("2026-01-01T00:00:00+00:00"))
    assert ranks.coverage["classical"] == Coverage(4, 4)
    return takes


def changing(root: Path) -> Take:
    """A sweep of one painted take, whose prompt changes at 20 s."""
    store, later = SweepStore(root, "changing"), Switch(20.0, "a blue door", True, frame=81)
    take = Take("pocket", MethodSpec("rag", PAINTED_METHODS[0]), 30, 120, "a red door", 0, switches=(later,))
    with store.lock():
        store.write_plan("name: changing\nsuites: [classical]\n", [take])
        commit(store, take, painted_frames(take.num_frames), rows=40)
        store.write_scores(take.id, scores_of(store, take))
        rank.refresh(store, [take], [SUITE])
    return take


def painted_frames(count: int) -> np.ndarray:
    """[count, 128, 128, 3]: 4 x 4 squares, white for a set bit; 9 bits of the index, then 7 of its remainder by 127."""
    index = np.arange(count)
    bits = np.stack(
        [index >> k & 1 for k in range(NUMBER_BITS)]
        + [index % CHECK >> k & 1 for k in range(GRID * GRID - NUMBER_BITS)],
        axis=1,
    )
    squares = (255 * bits).astype(np.uint8).reshape(count, GRID, GRID)
    grey = squares.repeat(SQUARE_PX, axis=1).repeat(SQUARE_PX, axis=2)
    return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))


def commit(store: SweepStore, take: Take, frames_NHWC: np.ndarray, rows: int = 0, attended: float = 0.0) -> TakeResult:
    """A take made as a sampler makes it: video, trace of `rows` blocks, record."""
    with store.open_take(take) as writer:
        height, width = frames_NHWC.shape[1:3]
        with VideoWriter(writer.video_path, width=width, height=height) as video:
            video.write(frames_NHWC)
        info = video.info
        assert info is not None
        if rows:
            writer.trace_path.write_bytes(durable.json_lines([block(i) for i in range(rows)]))
        facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
        return writer.commit(TakeResult(take.id, *facts, trace_rows=rows, attended_frames=attended))


def block(index: int) -> dict[str, object]:
    """A row of a trace: a sink, a retrieved frame of 5 blocks before, and the block's own frames."""
    first = 3 * index
    own = [[first + k, first + k, "block", None] for k in range(3)]
    past = [[0, 0, "sink", None], [first - 15, first - 15, "retrieved", 0.5]] if index > 5 else []
    query = [first, first + 1, first + 2]
    return {"block": index, "first": first, "given": False, "query": query, "attended": past + own}


def scores_of(store: SweepStore, take: Take) -> VideoScores:
    """15 clips of 2 s, even but for one that is worst."""
    result = store.result(take.id)
    assert result is not None
    fidelity, noise = WORST[take.method.label]
    count = take.seconds // CLIP_SECONDS
    clips: dict[str, list[float | None]] = {
        "subject_consistency": [0.4 if k == fidelity else 0.9 for k in range(count)],
        "chroma_noise": [40.0 if k == noise else 10.0 for k in range(count)],
    }
    starts = [float(CLIP_SECONDS * k) for k in range(count)]
    return VideoScores(
        SUITE.label,
        "direct",
        result.video_sha256,
        metrics={name: float(np.mean(row)) for name, row in clips.items()},
        clips=clips,
        seconds=dict.fromkeys(clips, starts),
        versions=SUITE.stamp,
    )


# A store full of script strings

PAYLOADS = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<iframe srcdoc='<script>parent.{}</script>'></iframe>",
    "<iframe src='javascript:{}'></iframe>",
    "<a href='javascript:{}'>open</a>",
    "<body onload={}>",
    "<video><source onerror={}></video>",
    "<details open ontoggle={}>",
    "<input autofocus onfocus={}>",
    "<style onload={}></style>",
    "<math><mtext><script>{}</script></mtext></math>",
    "<object data='javascript:{}'></object>",
    "<template><script>{}</script></template>",
    "javascript:{}",
    "{{{{constructor.constructor('{}')()}}}}",
    "${{{}}}",
    "data:text/html,<script>{}</script>",
    "<b>{}</b>",
)
WRAPPERS = (
    *("{}", '">{}', "'>{}", "--> {}", "]]>{}", "<!--{}", "`{}`", "\\{}", "*/{}/*", "';{}//", '";{}//'),
    *("</title>{}", "</script>{}", "</textarea>{}", "</style>{}", "</option>{}", "</select>{}", "</td></tr></table>{}"),
    *("\\u003c{}", "&lt;{}", "%3Cscript%3E{}", "\u2028{}", "\u202e{}", "\x00{}", "=cmd|' /C calc'!A0{}"),
)
SCRIPTS = [
    wrapper.format(payload.format(f"window.__pwned={number}"))
    for number, (payload, wrapper) in enumerate(itertools.product(PAYLOADS, WRAPPERS), 1)
]


TEXTS = [" | ".join(SCRIPTS[first : first + 5]) for first in range(0, 500, 5)]
"""All of them in 100 texts."""


def hostile(root: Path) -> list[Take]:
    """Two made takes of the first text as their prompt, and 99 that failed, their prompt and their reason the others.
    Methods, metrics, reports of workers and errors of scores are script strings too."""
    assert len(set(SCRIPTS)) == 500
    store = SweepStore(root, "hostile")
    labels = ("<img src=x onerror=window.__pwned=1>", "<script>window.__pwned=2</script>")
    made = [Take("pocket", MethodSpec("rag", label), 30, 6, TEXTS[0], seed) for seed, label in enumerate(labels)]
    failed = [Take("pocket", MethodSpec("native", labels[0]), 30, 2, prompt, 7) for prompt in TEXTS[1:]]
    with store.lock():
        store.write_plan(f"name: hostile\nprompts: {json.dumps(SCRIPTS[:9])}\nsuites: [classical]\n", made + failed)
        for take in made:
            result = commit(store, take, painted_frames(take.num_frames), rows=2)
            errors = {"imaging_quality": SCRIPTS[5]}
            named: dict[str, float | None] = {"subject_consistency": 0.5, "imaging_quality": None, SCRIPTS[30]: 0.25}
            scores = VideoScores(
                SUITE.label, SCRIPTS[6], result.video_sha256, named, errors=errors, versions=SUITE.stamp
            )
            store.write_scores(take.id, scores)
        for take, reason in zip(failed, TEXTS[1:], strict=True):
            folder = store.failures_file(take.id).parent
            durable.make_folder(folder)
            row = {"at": "2026-01-01T00:00:00+00:00", "reason": reason}
            store.failures_file(take.id).write_bytes(durable.json_lines([row]))
        # No scorer gives such a protocol or metric: their record is not current, so the ranks are made from the table.
        frame = table((take, scores) for take in made if (scores := store.scores(take.id, SUITE.label)) is not None)
        store.write_table(frame)
        store.write_ranks(rank.ranks_of(store.name, frame, made + failed, [SUITE]))
        running = [{"group": SCRIPTS[8], "worker": SCRIPTS[9], "takes": [SCRIPTS[10]], "report": {"what": SCRIPTS[11]}}]
        counts = {"total": 101, "made": 2, "scored": 2, "failed": 99, "new_made": 2, "seconds": 9.0}
        now = {"takes_per_minute": 1.5, "seconds_left": 60.0, "updated_at": "2026-01-01T00:00:00+00:00", "pid": 1}
        store.write_progress(counts | now | {"running": running})
    return made + failed


# A large store


def large(root: Path) -> SweepStore:
    """10,000 scored takes: 5 backbones x 10 methods x 4 lengths x 50 prompts. Their one video is linked to all."""
    store = SweepStore(root, "large")
    cells = itertools.product([f"backbone-{k}" for k in range(5)], range(10), (30, 60, 120, 240), range(50))
    takes = [
        Take(backbone, MethodSpec("rag", f"method-{k}", {"top_k": k}), seconds, 4 * seconds, f"prompt {prompt}", 0)
        for backbone, k, seconds, prompt in cells
    ]
    first = takes[0]
    with store.lock():
        store.write_plan("name: large\nsuites: [classical]\n", takes)
        result = commit(store, first, painted_frames(first.num_frames))
        kept = [(take, clone(store, first, take, result)) for take in takes]
        store.write_ranks(rank.ranks_of(store.name, table(kept), takes, [SUITE]))
    return store


def clone(store: SweepStore, first: Take, take: Take, result: TakeResult) -> VideoScores:
    """The take made and scored, without waiting for the disk; what its method scores follows from its number."""
    folder = store.video(take.id).parent
    (folder / "scores").mkdir(parents=True)
    if take is not first:
        os.link(store.video(first.id), store.video(take.id))
        (folder / "result.json").write_bytes(durable.json_bytes(replace(result, take_id=take.id).to_json()))
    value = 0.5 + 0.04 * take.method.params["top_k"] + 0.01 * (int(take.id, 16) % 7)
    metrics: dict[str, float | None] = {"subject_consistency": value, "chroma_noise": 20 * (1 - value)}
    scores = VideoScores(SUITE.label, "direct", result.video_sha256, metrics, versions=SUITE.stamp)
    (folder / "scores" / "classical.json").write_bytes(durable.json_bytes(scores.to_json()))
    return scores
