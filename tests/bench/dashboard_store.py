"""How long the dashboard's first pages take over a store of 10,000 takes, written here in the store's own format.

    .venv/bin/python tests/bench/dashboard_store.py [TAKES]

4 backbones x 5 methods x 2 lengths x 50 prompts x TAKES / 2,000 seeds, all made and scored, seven metrics; the videos
are stubs. `first` is the first answer of a fresh server over files that the system has in memory, `then` the median of
five more. It ends with 1 if an answer that the first page needs took more than 2 s.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

from longtake.dashboards.app import make_app
from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.results.table import table
from longtake.jobs.results import ranks as rank
from longtake.platform.store import durable
from longtake.platform.store.records import TakeResult, VideoScores
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take

LIMIT_SECONDS = 2.0
METRICS = (
    "temporal_flickering", "subject_consistency", "background_consistency", "motion_smoothness", "dynamic_degree",
    "imaging_quality", "chroma_consistency",
)  # fmt: skip
STUB = b"no video"
SHA256 = "0" * 64
FIRST_PAGE = ("/api/store", "/api/sweeps/large/ranks")
LATER = (
    "/api/sweeps/large/takes?limit=100", "/api/sweeps/large/takes?method=method-3&state=made",
    "/api/sweeps/large/progress", "/api/moves", "/api/sweeps/large/leaderboard.csv",
)  # fmt: skip


def plan(count: int) -> list[Take]:
    grid = itertools.product(range(4), range(5), (60, 240), range(50), range(max(1, count // 2000)))
    return [
        Take(f"backbone-{backbone}", MethodSpec(f"method-{method}", f"method-{method}", {"top_k": 6}), seconds,
             seconds * 4, f"prompt {prompt}: a long walk through a town, seen from the window of a slow train", seed)
        for backbone, method, seconds, prompt, seed in grid
    ]  # fmt: skip


def write(root: Path, takes: list[Take]) -> None:
    """The sweep `large`; not synced, which 10,000 takes would wait for."""
    store, rng = SweepStore(root, "large"), random.Random(0)
    config = json.dumps({"name": "large", "suites": ["classical"], "tracking": {"uri": "disabled"}})
    store.write_plan(config, takes)
    scored = []
    for take in takes:
        values: dict[str, float | None] = {name: rng.random() for name in METRICS}
        scores = VideoScores("classical", "direct", SHA256, values, clips=dict.fromkeys(METRICS, [0.5] * 30))
        result = TakeResult(take.id, SHA256, len(STUB), take.num_frames, 16.0, 832, 480)
        folder = store.video(take.id).parent
        (folder / "scores").mkdir(parents=True)
        (folder / "video.mp4").write_bytes(STUB)
        (folder / "trace.jsonl").write_bytes(b"{}\n")
        (folder / "result.json").write_bytes(durable.json_bytes(result.to_json()))
        (folder / "scores" / "classical.json").write_bytes(durable.json_bytes(scores.to_json()))
        scored.append((take, scores))
    index = store.index()
    for take in takes:
        index.facts(take.id, ["classical"])
    index.save()
    told = {"total": len(takes), "made": len(takes), "scored": len(takes), "failed": 0, "running": []}
    store.write_progress(told | {"updated_at": "2026-01-01T00:00:00+00:00"})
    store.write_ranks(rank.ranks_of("large", table(scored), takes, [SuiteEntry("classical", "classical")]))


def measure(root: Path, url: str) -> tuple[float, float, int]:
    """Seconds of the first answer of a fresh server, of later ones, and bytes."""
    seconds = []
    with TestClient(make_app(root), "http://127.0.0.1:8765") as client:
        for _ in range(6):
            begun = time.perf_counter()
            answer = client.get(url)
            seconds.append(time.perf_counter() - begun)
            assert answer.status_code == 200, answer.text
    return seconds[0], statistics.median(seconds[1:]), len(answer.content)


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        takes = plan(count)
        write(Path(folder), takes)
        print(f"{len(takes)} takes\n{'first s':>8} {'then s':>8} {'kB':>7}  answer")
        slow = []
        for url in (*FIRST_PAGE, *LATER):
            first, then, size = measure(Path(folder), url)
            print(f"{first:8.3f} {then:8.3f} {size / 1000:7.0f}  {url}")
            slow += [url] if url in FIRST_PAGE and first > LIMIT_SECONDS else []
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
