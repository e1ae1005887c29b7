"""Scores one finished take at a time under the suites that it still lacks, and keeps the scores in the store.

A plain class; it never samples, and scoring again never does either. What cannot be scored is a reason in the record,
not a failure: only a broken store, missing weights or a dead worker fail an item.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.evaluators.base import SuiteEntry
from longtake.platform.errors import LongtakeError, SetupError, WeightsError
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Report

if TYPE_CHECKING:
    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.scoring.scorer import Tell
    from longtake.platform.store.records import VideoScores
    from longtake.platform.store.sweep import SweepStore


GROUP = "vbench"  # what `longtake weights` calls all that published metrics need


class StorageDamage(LongtakeError):
    """A committed file was found changed; the take was discarded and has to be made again."""


class Scorer:
    """What a process that scores keeps between videos: its networks, each loaded once, and the cache of results."""

    def __init__(self, device: str, cache: Path | None):
        self.device, self.folder = device, cache
        self.model_pool: ModelPool | None = None
        self.checked: set[str] = set()

    def score(
        self,
        path: Path,
        entries: list[SuiteEntry],
        take: Take | None = None,
        only: list[str] | None = None,
        tell: Tell | None = None,
    ) -> dict[str, VideoScores]:
        """Label -> scores. Raises WeightsError when this process has other weights than the entries say."""
        from longtake.evaluators.model_pool import ModelPool
        from longtake.evaluators.scoring.scorer import score_video_suites
        from longtake.platform.store.score_cache import ScoreCache

        for entry in entries:
            self.check(entry)
        if self.model_pool is None:
            self.set_up()
            self.model_pool = ModelPool(self.device)
        cache = ScoreCache(self.folder) if self.folder is not None else None
        return score_video_suites(path, entries, take, self.model_pool, cache, only, tell)

    def set_up(self) -> None:
        """Raises SetupError where the GPU is not that scores should be computed on."""
        from longtake.platform.process import set_up_computing

        set_up_computing()
        if self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                raise SetupError("workers.gpus_per_evaluator: this evaluator sees no GPU; set it to 0, or join a GPU")

    def check(self, entry: SuiteEntry) -> None:
        if entry.label not in self.checked and with_weights(entry).weights != entry.weights:
            raise WeightsError(
                f"suites.{entry.label}: the weights here are not those that the sweep was planned with; "
                "run longtake weights verify, or run the sweep again to score with these"
            )
        self.checked.add(entry.label)


class ScoreWorker:
    """`payload`: {"take": take JSON, "suites": [suite JSON], "only": names of metrics or None}.

    Answers {label: {metric without a value: reason}}; with `only`, {label: the scores of those metrics as JSON}, which
    are then in no record yet.
    """

    def __init__(self, store: SweepStore, device: str = "cpu"):
        self.store = store
        self.scorer = Scorer(device, store.root.score_cache)

    def run(self, payload: dict[str, Any], report: Report) -> dict[str, Any]:
        take, store, only = Take.from_json(payload["take"]), self.store, payload.get("only")
        entries = [SuiteEntry.from_json(entry) for entry in payload["suites"]]
        missing = [entry for entry in entries if current_scores(store, take.id, entry) is None]
        report({"done": 0, "total": 1, "unit": "video"})
        if not missing:
            return {}
        check_bytes(store, take)
        found = self.scorer.score(store.video(take.id), missing, take, only, partial(tell, report))
        if only is not None:
            return {label: scores.to_json() for label, scores in found.items()}
        for scores in found.values():
            store.write_scores(take.id, scores)
        return {label: unscored(scores) for label, scores in found.items()}


def tell(report: Report, frames: int, total: int, metric: str) -> None:
    report({"done": frames, "total": total, "unit": "frame", "stage": metric})


def with_weights(entry: SuiteEntry, instead: str = "{{{name}: {{dimensions: [...]}}}}") -> SuiteEntry:
    """The entry with the hashes of the weights that are here. Raises WeightsError, naming the command that brings what
    is missing, and `instead`: how fewer dimensions are asked for."""
    networks = entry.open().networks()
    if not networks:
        return entry
    from longtake.evaluators.models.base import missing, weights_sha256

    lacking = list(dict.fromkeys(line for name in networks for line in missing(name)))
    if lacking:
        told = summary(lacking, f"longtake weights pull {GROUP}")
        raise WeightsError(f"{entry.label}: {told}; or score what can run: {instead.format(name=entry.name)}")
    found = [weights_sha256(name) for name in networks]
    return replace(entry, weights={artefact: digest for part in found for artefact, digest in part.items()})


def summary(lacking: list[str], command: str) -> str:
    """One line for many: what another command mends first, then all that one pull brings."""
    pulled = [line for line in lacking if "longtake weights pull" in line]
    others = [line for line in lacking if line not in pulled]
    if others or len(pulled) == 1:
        return (others or pulled)[0]
    return f"weights of {len(pulled)} networks are not there; run {command}"


def current_scores(store: SweepStore, take_id: str, entry: SuiteEntry) -> VideoScores | None:
    """What the store holds under the suite as it is today; scores of an earlier version of it, or made with other
    settings or weights, do not count."""
    scores = store.scores(take_id, entry.label)
    if scores is None or any(scores.versions.get(key) != value for key, value in entry.stamp.items()):
        return None
    return scores


def check_bytes(store: SweepStore, take: Take) -> None:
    """A video that is not what was committed is taken back before it is scored; decoding would not notice."""
    if not store.verify(take):
        store.discard(take, "the video is not the one of its record")
        raise StorageDamage(f"take {take.id}: its video changed on disk since it was made; it is made again")


def unscored(scores: VideoScores) -> dict[str, str]:
    """Metric -> reason, of the metrics that have no value."""
    return {name: scores.errors.get(name, "") for name, value in scores.metrics.items() if value is None}


def metric_groups(entries: list[SuiteEntry], parts: int) -> list[list[str]]:
    """The names of the suites' metrics, dealt out to at most so many groups."""
    opened = [entry.open() for entry in entries]
    names = list(dict.fromkeys(suite.metric(key).name for suite in opened for key in suite.metrics))
    return [group for start in range(parts) if (group := names[start::parts])]


def joined(parts: list[dict[str, Any]]) -> dict[str, VideoScores]:
    """Label -> scores, of parts that each hold some of the metrics."""
    from longtake.platform.store.records import VideoScores

    whole: dict[str, VideoScores] = {}
    for part in parts:
        for label, data in part.items():
            scores = VideoScores.from_json(data)
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
    )
