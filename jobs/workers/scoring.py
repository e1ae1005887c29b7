"""Scores one finished take at a time under its missing suites and writes the scores to the store.

A plain class that never generates video. If a metric has no value, the record holds the reason, and the item does not
fail: only a broken store, missing weights or a dead worker fail an item.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.evaluators.base import SuiteEntry, VideoContext
from longtake.jobs.workers.agreement import check_versions
from longtake.platform.errors import LongtakeError, SetupError, StorageError, WeightsError
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Report

if TYPE_CHECKING:
    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.scoring.records import Kept
    from longtake.evaluators.scoring.scorer import ReportProgress
    from longtake.platform.store.index import ScoresHead, TakeFacts
    from longtake.platform.store.records import VideoScores
    from longtake.platform.store.sweep import SweepStore


GROUP = "vbench"  # name of the weights of all published metrics in `longtake weights`


class StorageDamage(LongtakeError):
    """A committed file has changed; the take was discarded and will be generated again."""


class Scorer:
    """State of a scoring process between videos: its networks, each loaded once, and the cache of results."""

    def __init__(self, device: str, cache: Path | None, store: SweepStore | None = None):
        self.device, self.folder, self.store = device, cache, store
        self.model_pool: ModelPool | None = None
        self.checked: set[str] = set()

    def score(
        self,
        path: Path,
        entries: list[SuiteEntry],
        take: Take | None = None,
        only: Sequence[str] | None = None,
        report_progress: ReportProgress | None = None,
        earlier: Mapping[str, Kept] | None = None,
    ) -> dict[str, VideoScores]:
        """Label -> scores. `earlier`: label -> results to keep. Raises WeightsError if the weights of this process
        differ from those of the entries."""
        from longtake.evaluators.model_pool import ModelPool
        from longtake.evaluators.scoring.scorer import score_video_suites
        from longtake.platform.store.score_cache import ScoreCache

        for entry in entries:
            self.check(entry)
        if self.model_pool is None:
            self.set_up()
            self.model_pool = ModelPool(self.device)
        for entry in entries:
            self.model_pool.planned |= entry.weights
        cache = ScoreCache(self.folder) if self.folder is not None else None
        return score_video_suites(path, entries, take, self.model_pool, cache, only, report_progress, earlier)

    def set_up(self) -> None:
        """Raises SetupError if scores should be computed on a GPU and none is available."""
        from longtake.platform.machine.process import set_up_computing

        set_up_computing()
        if self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                raise SetupError("workers.gpus_per_evaluator: this evaluator has no GPU; set it to 0, or add a GPU")

    def check(self, entry: SuiteEntry) -> None:
        """Once per suite: raises WeightsError or SetupError unless metrics, weights and packages are those of the plan
        and of the other evaluators of the run."""
        if entry.label in self.checked:
            return
        from longtake.evaluators.model_pool import other_weights
        from longtake.evaluators.scoring.versions import libraries

        check_stamp(entry)
        try:
            here = with_weights(entry).weights
        except WeightsError as error:
            raise WeightsError(f"suites.{entry.label}: on node {socket.gethostname()}: {error}") from error
        for artefact, digest in here.items():
            if digest != entry.weights.get(artefact):
                raise WeightsError(
                    f"suites.{entry.label}: {other_weights(artefact, digest, entry.weights.get(artefact, 'none'))}"
                )
        if self.store is not None:
            check_versions(self.store, f"evaluators-{entry.label}", libraries(entry.suite.networks(), "cpu"))
        self.checked.add(entry.label)


def check_stamp(entry: SuiteEntry) -> None:
    """Raises SetupError if the metrics of this node have other versions or settings than those of the driver."""
    for part in sorted({*entry.planned, *entry.stamp}) if entry.planned else ():
        here, planned = entry.stamp.get(part, "nothing"), entry.planned.get(part, "nothing")
        if here != planned:
            raise SetupError(
                f"suites.{entry.label}: {part} is {here} on node {socket.gethostname()}, but the sweep was planned "
                f"with {planned}; install the same version of longtake on every node and run again"
            )


@dataclass(frozen=True)
class ScoreItem:
    """A take to score under suites: all metrics (`metrics` is None), or one `part` of them in a `round` of items."""

    take: Take
    suites: tuple[SuiteEntry, ...]
    metrics: tuple[str, ...] | None = None
    round: int = 1
    part: int = 0

    @property
    def takes(self) -> tuple[Take, ...]:
        return (self.take,)


class ScoreWorker:
    """Runs one item at a time. The scores of a part are not stored, since they are not a complete record."""

    def __init__(self, store: SweepStore, device: str = "cpu"):
        self.store = store
        self.scorer = Scorer(device, store.root.score_cache, store)

    def run(self, payload: ScoreItem, report: Report) -> dict[str, VideoScores]:
        """Label -> scores, for the suites without current scores in the store."""
        take, store = payload.take, self.store
        missing = [entry for entry in payload.suites if current_scores(store, take, entry) is None]
        report({"done": 0, "total": 1, "unit": "video"})
        if not missing:
            return {}
        check_bytes(store, take)
        scores_by_label = {entry.label: scores for entry in missing if (scores := former_scores(store, take, entry))}
        missing = [entry for entry in missing if entry.label not in scores_by_label]
        earlier = {entry.label: kept_scores(store, take, entry, self.scorer.device) for entry in missing}
        if missing:
            video, say = store.video(take.id), partial(report_frames, report)
            scores_by_label |= self.scorer.score(video, missing, take, payload.metrics, say, earlier)
        for scores in scores_by_label.values() if payload.metrics is None else ():
            store.write_scores(take.id, scores)
        return scores_by_label


def report_frames(report: Report, frames: int, total: int, metric: str) -> None:
    report({"done": frames, "total": total, "unit": "frame", "stage": metric})


def with_weights(entry: SuiteEntry, instead: str = "{}: [...]") -> SuiteEntry:
    """The entry with the hashes of the local weights. Raises WeightsError, which names the command that gets missing
    weights and, from `instead`, how to choose fewer metrics."""
    networks = entry.suite.networks()
    if not networks:
        return entry
    from longtake.evaluators.models.base import missing, weights_sha256

    problems = list(dict.fromkeys(line for name in networks for line in missing(name)))
    if problems:
        problem = summary(problems, f"longtake weights pull {GROUP}")
        raise WeightsError(f"{entry.label}: {problem}; or score fewer: {instead.format(entry.suite.chosen_by)}")
    hashes = [weights_sha256(name) for name in networks]
    return replace(entry, weights={artefact: digest for part in hashes for artefact, digest in part.items()})


def summary(problems: list[str], command: str) -> str:
    """One line for all problems: one that another command fixes, or else the pull that fixes the rest."""
    pulled = [line for line in problems if "longtake weights pull" in line]
    others = [line for line in problems if line not in pulled]
    if others or len(pulled) == 1:
        return (others or pulled)[0]
    return f"weights of {len(pulled)} networks are missing; run {command}"


def current_scores(store: SweepStore, take: Take, entry: SuiteEntry, label: str | None = None) -> VideoScores | None:
    """The stored scores of the suite (or of another `label`) if they have every metric in its current version, with the
    same settings and weights; else None."""
    from longtake.evaluators.scoring.records import is_current

    scores = store.scores(take.id, label or entry.label)
    if scores is None or not is_current(scores, entry, partial(context, store, take)):
        return None
    if (scores.suite, scores.versions.get("suite")) == (entry.label, entry.stamp["suite"]):
        return scores
    return replace(scores, suite=entry.label, versions=scores.versions | entry.stamp)


class MissingScores:
    """Which suites of a take have no current scores, by the store's index, as `current_scores` decides it. A record's
    head decides for all takes that share it, unless it depends on the take."""

    def __init__(self, store: SweepStore, suites: Sequence[SuiteEntry]):
        self.store, self.suites = store, tuple(suites)
        self.labels = [entry.label for entry in suites]
        self.verdicts: dict[tuple[ScoresHead, str], bool] = {}

    def of(self, take: Take, facts: TakeFacts) -> tuple[SuiteEntry, ...]:
        """`facts`: of the take, about `labels`."""
        heads = facts.heads
        return tuple(e for e in self.suites if e.label not in heads or not self.is_current(take, heads[e.label], e))

    def is_current(self, take: Take, head: ScoresHead, entry: SuiteEntry) -> bool:
        from longtake.evaluators.scoring.records import is_current

        key, asked = (head, entry.label), list[Take]()
        if key in self.verdicts:
            return self.verdicts[key]

        def context_of_take() -> VideoContext:
            asked.append(take)
            return context(self.store, take)

        verdict = is_current(head, entry, context_of_take)
        if not asked:
            self.verdicts[key] = verdict
        return verdict


def former_scores(store: SweepStore, take: Take, entry: SuiteEntry) -> VideoScores | None:
    """The complete scores stored under a former name of the suite, or None."""
    former = (current_scores(store, take, entry, label) for label in entry.former_labels)
    return next((scores for scores in former if scores is not None), None)


def kept_scores(store: SweepStore, take: Take, entry: SuiteEntry, device: str) -> Kept:
    """The results of an earlier record of the suite that need not be computed again."""
    from longtake.evaluators.scoring.records import kept

    records = (store.scores(take.id, label) for label in (entry.label, *entry.former_labels))
    scores = next((record for record in records if record is not None), None)
    return {} if scores is None else kept(scores, entry, partial(context, store, take), device)


def context(store: SweepStore, take: Take) -> VideoContext:
    """The context of a finished take's video. Raises StorageError."""
    made = store.result(take.id)
    if made is None:
        raise StorageError(f"take {take.id}: has scores but no readable record; run the sweep again")
    return VideoContext(store.video(take.id), made.fps, made.width, made.height, made.num_frames).of_take(take)


def check_bytes(store: SweepStore, take: Take) -> None:
    """Discard a video that differs from the committed one and raise StorageDamage; decoding may not detect this."""
    if not store.verify(take):
        store.discard(take, "the video is not the one of its record")
        raise StorageDamage(f"take {take.id}: the video on disk has changed; it will be generated again")


def missing_value_reasons(scores: VideoScores) -> dict[str, str]:
    """Metric -> reason, for the metrics without a value."""
    return {name: scores.errors.get(name, "") for name, value in scores.metrics.items() if value is None}


def metric_groups(entries: list[SuiteEntry], parts: int) -> list[tuple[str, ...]]:
    """The names of the suites' metrics, divided into at most `parts` groups."""
    names = list(dict.fromkeys(metric.name for entry in entries for metric in entry.metrics.values()))
    return [group for start in range(parts) if (group := tuple(names[start::parts]))]


def join_parts(parts: Iterable[dict[str, VideoScores]]) -> dict[str, VideoScores]:
    """Label -> scores, merged from parts that each hold some of the metrics."""
    whole: dict[str, VideoScores] = {}
    for part in parts:
        for label, scores in part.items():
            whole[label] = merge(whole[label], scores) if label in whole else scores
    return whole


def merge(one: VideoScores, other: VideoScores) -> VideoScores:
    return replace(
        one,
        metrics=one.metrics | other.metrics,
        drift=one.drift | other.drift,
        clips=one.clips | other.clips,
        errors=one.errors | other.errors,
        seconds=one.seconds | other.seconds,
        parts=one.parts | other.parts,
    )
