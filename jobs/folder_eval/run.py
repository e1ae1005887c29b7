"""`longtake eval FOLDER`: scores every video of a folder under one suite, in one process or several.

Steps: read the settings, the prompts and earlier scores; hand the rest to a fleet; record its scores; write the files.
A metric without a score has the reason beside it. The next run retries videos whose worker died or whose file
disappeared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from longtake.evaluators.base import SuiteEntry, suites
from longtake.jobs.folder_eval.options import FolderEvalOptions
from longtake.jobs.workers.attempts import Attempts, reason_of
from longtake.jobs.workers.run_loop import Step, run_until_done
from longtake.jobs.workers.scoring import Scorer, report_frames, with_weights
from longtake.platform.errors import ConfigError, LongtakeError, SetupError, WeightsError
from longtake.platform.settings import strict_yaml
from longtake.platform.store.durable import make_folder
from longtake.platform.store.locked_folder import hold_file
from longtake.platform.store.records import BRIEF_CHARS, SCORING
from longtake.platform.workers.fleet import Group, Item, Outcome, Report

if TYPE_CHECKING:
    from rich.console import Console

    from longtake.evaluators.results.folder import FolderReport
    from longtake.evaluators.scoring.metric_runner import Result
    from longtake.jobs.folder_eval.progress import EvalProgress
    from longtake.platform.store.records import VideoScores
    from longtake.platform.workers.ray_cluster import Cluster

EVALUATORS = "evaluators"
NAMES = "names"  # the value of --prompts for videos that are named by their prompts
MAX_REASONS = 10
ENDS_THE_RUN = (WeightsError, ConfigError, SetupError)


@dataclasses.dataclass(frozen=True)
class FolderItem:
    """A video to score: its name in the report, its absolute path, and its valid earlier results by metric."""

    name: str
    path: Path
    suite: SuiteEntry
    earlier: dict[str, Result]


class FolderWorker:
    """Scores one video at a time."""

    def __init__(self, device: str, cache: Path | None):
        self.scorer = Scorer(device, cache)

    def run(self, payload: FolderItem, report: Report) -> VideoScores:
        report({"unit": "frame"})
        earlier = {payload.suite.label: payload.earlier}
        scores = self.scorer.score(
            payload.path, [payload.suite], report_progress=partial(report_frames, report), earlier=earlier
        )
        return scores[payload.suite.label]


def eval_folder(options: FolderEvalOptions, console: Console | None = None) -> int:
    """Returns 3 if a metric of a video has no score, else 0. Raises LongtakeError; Interrupted after a signal."""
    from longtake.evaluators.results.folder import FolderReport, check_writable
    from longtake.jobs.console import console_for
    from longtake.platform.video.folders import scan

    console = console or console_for()
    entry = suite_entry(options.suite, options.settings or ())
    if options.table is not None and options.table.suffix != ".parquet":
        raise ConfigError(f"--table: {options.table} must end in .parquet, the format of the table")
    if options.official_out is not None and not entry.suite.official_names():
        known = ", ".join(name for name in suites.names() if suites.get(name)().official_names())
        raise ConfigError(f"--vbench-out: {options.suite} has no official format of results; add --suite {known}")
    if all(metric.needs_take for metric in entry.metrics.values()):
        raise ConfigError(f"--suite: {options.suite} needs the prompt and seed of a take; choose another suite")
    found = scan(options.folder)
    videos = found.videos
    for note in found.notes():
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    prompts = prompts_of(options.prompts, list(videos), console)
    for path in options.outputs:
        check_writable(path)
    if options.cache is not None:
        make_folder(options.cache)
    entry = with_weights(entry, "--set {}=[...]")
    device = device_of(options, entry)
    with output_lock(options.out):
        report = FolderReport(videos, entry, options.out, prompts, device, official=options.official_out is not None)
        score(report, options, device, console)
        write(report, options)
    show(report, options, console)
    return 0 if report.whole else 3


def output_lock(out: Path | None) -> AbstractContextManager[None]:
    """Holds the lock of the output file. Raises LockedError if another `longtake eval` holds it."""
    return hold_file(out.parent / f".{out.name}.lock", out) if out is not None else nullcontext()


def suite_entry(name: str, settings: Sequence[str]) -> SuiteEntry:
    """Raises ConfigError for an unknown suite, key or value."""
    params = {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--set: {word!r} is not of the form key=value, such as protocol=exact")
        if key in params:
            raise ConfigError(f"--set {key}: is given twice; give it once")
        params[key] = strict_yaml.parse(text, f"--set {key}")
    if params and not dataclasses.is_dataclass(suites.get(name)):
        raise ConfigError(f"--set: the suite {name} has no settings; omit --set")
    entry = SuiteEntry(name, name, params)
    entry.open("--set")
    return entry


def prompts_of(file: Path | None, videos: list[str], console: Console) -> dict[str, str]:
    from longtake.jobs.folder_eval.prompts import from_names, match, read_prompts

    if file is None:
        return {}
    if str(file) == NAMES and not file.exists():
        return from_names(videos)
    prompts, unknown = match(read_prompts(file), videos, file)
    if not prompts:
        raise ConfigError(f"{file}: matches no video of the folder; name videos by path, file name or stem")
    without_prompt = [video for video in videos if video not in prompts]
    for names, what in ((unknown, "names match no video"), (without_prompt, "videos have no prompt")):
        if names:
            first = ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
            console.print(f"note: {file}: {len(names)} {what}: {first}", markup=False, soft_wrap=True)
    return prompts


def device_of(options: FolderEvalOptions, entry: SuiteEntry) -> str:
    """cpu, cuda or cuda:N; a suite without networks computes on the CPU. Raises ConfigError."""
    from longtake.jobs.sweep.spec import DEVICE
    from longtake.platform.machine.resources import find_device

    if not DEVICE.fullmatch(options.device):
        raise ConfigError(f"--device: {options.device!r} is not auto, cpu, cuda or cuda:N")
    if not entry.weights:
        return "cpu"
    try:
        device = find_device(options.device)
    except ConfigError as error:
        raise ConfigError(str(error).replace("workers.device", "--device", 1)) from error
    if options.evaluators > 1 and options.device.startswith("cuda:"):
        raise ConfigError(f"--device: {options.device} is one GPU, but each evaluator gets one; use cuda")
    return options.device if options.device.startswith("cuda:") else device.type


def score(report: FolderReport, options: FolderEvalOptions, device: str, console: Console) -> None:
    """Scores the videos that have no valid scores yet. Raises Interrupted."""
    from longtake.jobs.folder_eval.progress import EvalProgress
    from longtake.platform.workers.ray_cluster import INLINE, LOCAL, connect

    with EvalProgress(console) as view:
        work = FolderWork(report, view)
        work.keep_valid_scores()
        if not work.left:
            return
        with connect(INLINE if options.evaluators == 1 else LOCAL) as cluster:
            work.run(cluster, group_of(options, device, len(work.left)))


def group_of(options: FolderEvalOptions, device: str, videos: int) -> Group:
    alone = options.evaluators == 1
    gpus = options.gpus_per_evaluator if options.gpus_per_evaluator is not None else 1.0
    cache = options.cache.absolute() if options.cache is not None else None
    return Group(
        EVALUATORS,
        partial(FolderWorker, device, cache),
        min(options.evaluators, videos),
        1.0,
        gpus if device.startswith("cuda") and not alone else 0.0,
        settings=("--evaluators", "--gpus-per-evaluator"),
    )


class FolderWork:
    """Scores the videos of a folder on a fleet and records their scores in the report."""

    def __init__(self, report: FolderReport, view: EvalProgress):
        self.report, self.view = report, view
        self.left = dict.fromkeys(report.paths)
        self.attempts: Attempts[str] = Attempts()

    @property
    def unfinished(self) -> int:
        return len(self.left)

    @property
    def progress_text(self) -> str:
        kept = "run again to resume" if self.report.out is not None else "give --out to keep them"
        return f"{len(self.report.entries)} of {len(self.report.paths)} videos are scored; {kept}"

    def keep_valid_scores(self) -> None:
        for name in list(self.left):
            if self.report.keep(name):
                self.finish(name, "kept")

    def finish(self, name: str, note: str) -> None:
        del self.left[name]
        total = len(self.report.paths)
        self.view.say(f"{total - len(self.left)}/{total} {name}: {note}")

    def run(self, cluster: Cluster, group: Group) -> None:
        def show() -> None:
            self.view.update(fleet.running())

        fleet, steps = cluster.fleet([group], on_report=show), [(EVALUATORS, self.item(name)) for name in self.left]
        try:
            run_until_done(self, steps, fleet, cluster.stop, show, self.view.say)
        finally:
            self.report.save()

    def item(self, name: str) -> Item:
        path, current = self.report.paths[name].absolute(), self.report.current.get(name, {})
        earlier = {metric: result for metric, result in current.items() if result}
        return Item(FolderItem(name, path, self.report.entry, earlier), label=name)

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        """Records the scores or the failure of a video; retries it if its worker died. Raises final errors."""
        name, error = outcome.item.payload.name, outcome.error
        if isinstance(error, ENDS_THE_RUN):
            raise error
        self.attempts.ended(SCORING, [name], outcome.died)
        if error is not None:
            self.attempts.check_workers(SCORING, error)
            failure = self.attempts.failed(SCORING, name, error, outcome.died)
            if failure.died and not failure.set_aside:
                self.view.say(f"{name}: {failure.brief}; scoring it again")
                return [(EVALUATORS, outcome.item)]
            self.report.add_failure(name, reason := plain_reason(error))
            note = f"not scored: {shorten(reason, BRIEF_CHARS, placeholder=' ...')}"
        else:
            self.report.add(name, outcome.value)
            note = note_of(outcome.value.metrics)
        self.report.save_when_due()
        self.finish(name, note)
        return []


def note_of(metrics: dict[str, float | None]) -> str:
    missing = sum(value is None for value in metrics.values())
    return f"{missing} of {len(metrics)} metrics have no score" if missing else "scored"


def plain_reason(error: Exception) -> str:
    return " ".join(str(error).split()) if isinstance(error, LongtakeError) else reason_of(error)


def write(report: FolderReport, options: FolderEvalOptions) -> None:
    from longtake.evaluators.results.folder import write_file
    from longtake.evaluators.results.folder_table import parquet
    from longtake.platform.store.durable import json_bytes

    report.save()
    if options.table is not None:
        write_file(options.table, parquet(report.to_json()))
    if options.official_out is not None:
        write_file(options.official_out, json_bytes(official_results(report)))


def official_results(report: FolderReport) -> dict[str, list[Any]]:
    return report.suite.official_results(report.to_json()["videos"])


def has_drift(entry: dict[str, Any]) -> bool:
    return any(value is not None for name, value in entry["drift"].items() if name.endswith(".quarter_diff"))


def show(report: FolderReport, options: FolderEvalOptions, console: Console) -> None:
    from longtake.jobs.console import number
    from longtake.jobs.folder_eval.tables import print_drift, print_scores

    data = report.to_json()
    print_scores(data, str(options.folder), console)
    drifting = {name: entry for name, entry in data["videos"].items() if has_drift(entry)}
    if drifting:
        print_drift(data | {"videos": drifting}, str(options.folder), console)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if len(drifting) < len(data["videos"]):
        short = len(data["videos"]) - len(drifting)
        say(f"no drift for {short} of {len(data['videos'])} videos: it needs 4 scored clips, also in both end quarters")
    say("overall: " + ", ".join(f"{name} {number(value)}" for name, value in data["overall"].items()))
    failed = {
        name: [metric for metric, value in entry["metrics"].items() if value is None]
        for name, entry in data["videos"].items()
    }
    failed = {name: metrics for name, metrics in failed.items() if metrics}
    for name, metrics in list(failed.items())[:MAX_REASONS]:
        reasons: dict[str, list[str]] = {}
        for metric in metrics:
            reasons.setdefault(data["videos"][name]["errors"][metric], []).append(metric)
        for reason, alike in reasons.items():
            say(f"{name}: {', '.join(alike)}: {reason}")
    if len(failed) > MAX_REASONS:
        say(f"and {len(failed) - MAX_REASONS} more videos without a score")
    if options.official_out is not None:
        written = official_results(report)
        missing = [name for name in report.suite.official_names() if name not in written]
        if missing:
            say(f"left out of {options.official_out}, because no video has a score: {', '.join(missing)}")
    for path in options.outputs:
        say(f"wrote {path}")
