"""Scores one finished take at a time under the suites that it still lacks, and keeps the scores in the store.

A plain class; it never samples, and scoring again never does either. What cannot be scored is a reason in the record,
not a failure: only a broken store or a dead worker fails an item.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.errors import LongtakeError
from longtake.platform.fleet import Report
from longtake.platform.takes import Take

if TYPE_CHECKING:
    from longtake.platform.records import VideoScores
    from longtake.platform.store import SweepStore


class StorageDamage(LongtakeError):
    """A committed file was found changed; the take was discarded and has to be made again."""


class ScoreWorker:
    """`payload`: {"take": take JSON, "suites": [names]}; answers {suite: {metric without a value: reason}}."""

    def __init__(self, store: SweepStore):
        self.store = store

    def run(self, payload: dict[str, Any], report: Report) -> dict[str, dict[str, str]]:
        from longtake.evaluators.scorer import context_of, score_video_suites
        from longtake.platform.errors import VideoError

        take, store = Take.from_json(payload["take"]), self.store
        missing = [suite for suite in payload["suites"] if current_scores(store, take.id, suite) is None]
        report({"done": 0, "total": len(missing), "unit": "suite"})
        if not missing:
            return {}
        check_bytes(store, take)
        path = store.video(take.id)
        try:
            context = context_of(path, take)
        except VideoError:
            context = None  # the scorer turns an unreadable video into reasons
        found = score_video_suites(path, missing, context)
        for scores in found.values():
            store.write_scores(take.id, scores)
        return {suite: unscored(scores) for suite, scores in found.items()}


def current_scores(store: SweepStore, take_id: str, suite: str) -> VideoScores | None:
    """What the store holds under the suite as it is today; scores of an earlier version of it do not count."""
    from longtake.evaluators.base import suites

    scores = store.scores(take_id, suite)
    today = f"{suite}-{suites.get(suite).version}"
    return scores if scores is not None and scores.versions.get("suite") == today else None


def check_bytes(store: SweepStore, take: Take) -> None:
    """A video that is not what was committed is taken back before it is scored; decoding would not notice."""
    if not store.verify(take):
        store.discard(take, "the video is not the one of its record")
        raise StorageDamage(f"take {take.id}: its video changed on disk since it was made; it is made again")


def unscored(scores: VideoScores) -> dict[str, str]:
    """Metric -> reason, of the metrics that have no value."""
    return {name: scores.errors.get(name, "") for name, value in scores.metrics.items() if value is None}


def known_suites() -> list[str]:
    from longtake.evaluators.base import suites

    return suites.names()


def score_folder(folder: Path, suite: str, out: Path | None) -> int:
    """`longtake eval`: score every video of a folder, print the table; 3 when something could not be scored, else 0."""
    from longtake.evaluators.folder import FolderProgress, eval_folder
    from longtake.jobs.leaderboard import console_for, drift_table, folder_table

    console = console_for()

    def tell(progress: FolderProgress) -> None:
        note = "kept" if progress.reused else f"{progress.errors} reasons" if progress.errors else "scored"
        console.print(f"{progress.done}/{progress.total} {progress.video}: {note}", markup=False, soft_wrap=True)

    report = eval_folder(folder, suite, out, tell)
    console.print(folder_table(report, str(folder)))
    console.print(drift_table(report, str(folder)))
    missing = {name: entry["errors"] for name, entry in report["videos"].items() if entry["errors"]}
    for name, errors in list(missing.items())[:10]:
        metric, reason = next(iter(errors.items()))
        console.print(f"{name}: {metric}: {reason}", markup=False, soft_wrap=True)
    if out:
        console.print(f"scores: {out}", markup=False, soft_wrap=True)
    unscored = any(value is None for entry in report["videos"].values() for value in entry["metrics"].values())
    return 3 if unscored else 0
