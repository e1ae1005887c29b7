"""`longtake eval FOLDER`: every video of a folder scored under one suite, by one process or several.

Steps: read the settings, prompts and what is known; hand the rest to a fleet; book what comes back; write the files.
What a video is to blame for is a reason beside its metrics. What it is not (a dead worker, a file that went away) is
one too, for this run: the next one tries again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.evaluators.base import SuiteEntry, suites
from longtake.jobs.folder_eval.options import FolderEvalOptions
from longtake.jobs.workers.run_loop import run_until_done
from longtake.jobs.workers.scoring import Scorer, tell, with_weights
from longtake.platform import strict_yaml
from longtake.platform.errors import ConfigError, Interrupted, LongtakeError, SetupError, WeightsError
from longtake.platform.store.durable import make_folder
from longtake.platform.store.locked_folder import hold_file
from longtake.platform.workers.fleet import Fleet, Group, Item, Outcome, Report

if TYPE_CHECKING:
    from rich.console import Console

    from longtake.evaluators.results.folder import FolderReport
    from longtake.jobs.folder_eval.progress import EvalProgress
    from longtake.platform.workers.ray_cluster import Cluster

EVALUATORS = "evaluators"
MAX_ATTEMPTS = 3
NAMES = "names"  # --prompts: the videos' names are their prompts
MAX_REASONS = 10
ENDS_THE_RUN = (WeightsError, ConfigError, SetupError)


class FolderWorker:
    """One video at a time. `payload`: {"path", "suite": suite JSON, "earlier": {metric: result}}; answers its scores as
    JSON."""

    def __init__(self, device: str, cache: Path | None):
        self.scorer = Scorer(device, cache)

    def run(self, payload: dict[str, Any], report: Report) -> dict[str, Any]:
        from longtake.evaluators.scoring.metric_runner import Result

        entry = SuiteEntry.from_json(payload["suite"])
        earlier = {entry.label: {name: Result.from_json(result) for name, result in payload["earlier"].items()}}
        report({"unit": "frame"})
        found = self.scorer.score(Path(payload["path"]), [entry], tell=partial(tell, report), earlier=earlier)
        return found[entry.label].to_json()


def eval_folder(options: FolderEvalOptions, console: Console | None = None) -> int:
    """3 when something could not be scored, else 0. Raises LongtakeError; Interrupted when a signal ended it early."""
    from longtake.evaluators.results.folder import FolderReport, check_writable, find_videos, skipped
    from longtake.jobs.console import console_for

    console = console or console_for()
    entry = suite_entry(options.suite, options.settings or ())
    if options.table is not None and options.table.suffix != ".parquet":
        raise ConfigError(f"--table: {options.table} does not end in .parquet, which is what is written")
    if options.official_out is not None and not entry.suite.official_results({}):
        known = ", ".join(name for name in suites.names() if suites.get(name)().official_results({}))
        raise ConfigError(f"--vbench-out: {options.suite} has no official form of results; add --suite {known}")
    if all(metric.needs_take for metric in entry.metrics.values()):
        raise ConfigError(f"--suite: {options.suite} needs a take's prompt and seed, which a folder has not")
    videos = find_videos(options.folder)
    others = skipped(options.folder, videos)
    if others:
        first = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        console.print(f"note: {len(others)} other files are left out: {first}", markup=False, soft_wrap=True)
    prompts = prompts_of(options.prompts, list(videos), console)
    for path in options.outputs:
        check_writable(path)
    if options.cache is not None:
        make_folder(options.cache)
    entry = with_weights(entry, "--set {}=[...]")
    device = device_of(options, entry)
    with held(options.out):
        report = FolderReport(videos, entry, options.out, prompts, device)
        score(report, options, device, console)
        write(report, options)
    show(report, options, console)
    return 0 if report.whole else 3


def held(out: Path | None) -> AbstractContextManager[None]:
    """One `longtake eval` at a time writes a file; another ends with LockedError."""
    return hold_file(out.parent / f".{out.name}.lock", out) if out is not None else nullcontext()


def suite_entry(name: str, settings: Sequence[str]) -> SuiteEntry:
    """Raises ConfigError for an unknown suite, key or value."""
    params = {}
    for word in settings:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--set: {word!r} is not of the form key=value, such as protocol=exact")
        if key in params:
            raise ConfigError(f"--set {key}: is there twice; say it once")
        params[key] = strict_yaml.parse(text, f"--set {key}")
    if params and not dataclasses.is_dataclass(suites.get(name)):
        raise ConfigError(f"--set: the suite {name} has no settings; leave out --set")
    entry = SuiteEntry(name, name, params)
    entry.open("--set")
    return entry


def prompts_of(file: Path | None, videos: list[str], console: Console) -> dict[str, str]:
    from longtake.jobs.folder_eval.prompts import from_names, match, read_prompts

    if file is None:
        return {}
    if str(file) == NAMES and not file.exists():
        return from_names(videos)
    found, unknown = match(read_prompts(file), videos, file)
    if not found:
        raise ConfigError(f"{file}: names no video of the folder; name them by path, file name or stem")
    lacking = [video for video in videos if video not in found]
    for names, what in ((unknown, "of its names are no video here"), (lacking, "videos have no prompt in it")):
        if names:
            first = ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
            console.print(f"note: {file}: {len(names)} {what}: {first}", markup=False, soft_wrap=True)
    return found


def device_of(options: FolderEvalOptions, entry: SuiteEntry) -> str:
    """cpu, cuda or cuda:N; a suite without networks computes on the CPU. Raises ConfigError."""
    from longtake.jobs.sweep.spec import DEVICE
    from longtake.platform.resources import find_device

    if not DEVICE.fullmatch(options.device):
        raise ConfigError(f"--device: {options.device!r} is not auto, cpu, cuda or cuda:N")
    if not entry.weights:
        return "cpu"
    try:
        device = find_device(options.device)
    except ConfigError as error:
        raise ConfigError(str(error).replace("workers.device", "--device", 1)) from error
    if options.evaluators > 1 and options.device.startswith("cuda:"):
        raise ConfigError(f"--device: {options.device} is one GPU, and every evaluator gets its own; say cuda")
    return options.device if options.device.startswith("cuda:") else device.type


def score(report: FolderReport, options: FolderEvalOptions, device: str, console: Console) -> None:
    """What is not known yet is scored and booked. Raises Interrupted."""
    from longtake.jobs.folder_eval.progress import EvalProgress
    from longtake.platform.workers.ray_cluster import INLINE, LOCAL, connect

    with EvalProgress(console) as view:
        work = FolderWork(report, view)
        work.keep_what_is_known()
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
        gpus_key="gpus_per_evaluator",
    )


class FolderWork:
    """The videos of a folder on their way: hands them to a fleet and books what comes back."""

    def __init__(self, report: FolderReport, view: EvalProgress):
        self.report, self.view = report, view
        self.left = dict.fromkeys(report.paths, 0)  # how many attempts have been made

    def keep_what_is_known(self) -> None:
        for name in list(self.left):
            if self.report.keep(name):
                self.finish(name, "kept")

    def finish(self, name: str, note: str) -> None:
        del self.left[name]
        total = len(self.report.paths)
        self.view.say(f"{total - len(self.left)}/{total} {name}: {note}")

    def run(self, cluster: Cluster, group: Group) -> None:
        fleet = cluster.fleet([group], lambda _group, _item: None, lambda: self.view.update(fleet.running()))
        try:
            for name in self.left:
                fleet.submit(EVALUATORS, self.item(name))
            record_outcome = partial(self.record_outcome, fleet)
            between = partial(self.between, fleet)
            run_until_done(fleet, cluster.stop, lambda: len(self.left), record_outcome, between, self.view.say)
        finally:
            fleet.close()
            self.report.save()
        if self.left:
            done = f"{len(self.report.found)} of {len(self.report.paths)} videos are scored"
            kept = "run again to resume" if self.report.out is not None else "give --out to keep them"
            raise Interrupted(f"stopped: {done}; {kept}")

    def item(self, name: str) -> Item:
        path = self.report.paths[name].absolute()
        earlier = {metric: result.to_json() for metric, result in self.report.current.get(name, {}).items() if result}
        payload = {"path": str(path), "suite": self.report.entry.to_json(), "earlier": earlier}
        return Item(name, payload, label=name)

    def between(self, fleet: Fleet) -> None:
        self.view.update(fleet.running())

    def record_outcome(self, fleet: Fleet, outcome: Outcome) -> None:
        """Take note; raises what no video is to blame for."""
        from longtake.platform.store.records import VideoScores

        name, error = outcome.item.key, outcome.error
        if isinstance(error, ENDS_THE_RUN):
            raise error
        self.left[name] += 1
        if outcome.died and self.left[name] < MAX_ATTEMPTS:
            self.view.say(f"{name}: {error}; it is scored again")
            fleet.submit(EVALUATORS, outcome.item)
            return
        if error is not None:
            self.report.add_failure(name, reason_of(error))
            note = f"not scored: {reason_of(error)}"
        else:
            scores = VideoScores.from_json(outcome.value)
            self.report.add(name, scores)
            note = note_of(scores.metrics)
        self.report.save_when_due()
        self.finish(name, note)


def note_of(metrics: dict[str, float | None]) -> str:
    missing = sum(value is None for value in metrics.values())
    return f"{missing} of {len(metrics)} metrics have no score" if missing else "scored"


def reason_of(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, LongtakeError) else f"{type(error).__name__}: {text}"


def write(report: FolderReport, options: FolderEvalOptions) -> None:
    from longtake.evaluators.results.folder import write_file
    from longtake.evaluators.results.folder_table import parquet
    from longtake.platform.store.durable import json_bytes

    report.save()
    if options.table is not None:
        write_file(options.table, parquet(report.to_json()))
    if options.official_out is not None:
        write_file(options.official_out, json_bytes(report.suite.official_results(report.to_json()["videos"])))


def has_drift(entry: dict[str, Any]) -> bool:
    return any(value is not None for name, value in entry["drift"].items() if name.endswith(".quarter_diff"))


def show(report: FolderReport, options: FolderEvalOptions, console: Console) -> None:
    from longtake.jobs.console import number
    from longtake.jobs.results.leaderboard import drift_table, folder_table

    told = report.to_json()
    console.print(folder_table(told, str(options.folder)))
    drifting = {name: entry for name, entry in told["videos"].items() if has_drift(entry)}
    if drifting:
        console.print(drift_table(told | {"videos": drifting}, str(options.folder)))

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if len(drifting) < len(told["videos"]):
        short = len(told["videos"]) - len(drifting)
        say(f"drift needs 4 scored clips and both end quarters, which {short} of {len(told['videos'])} videos lack")
    say("overall: " + ", ".join(f"{name} {number(value)}" for name, value in told["overall"].items()))
    failed = {
        name: [metric for metric, value in entry["metrics"].items() if value is None]
        for name, entry in told["videos"].items()
    }
    failed = {name: metrics for name, metrics in failed.items() if metrics}
    for name, metrics in list(failed.items())[:MAX_REASONS]:
        reasons: dict[str, list[str]] = {}
        for metric in metrics:
            reasons.setdefault(told["videos"][name]["errors"][metric], []).append(metric)
        for reason, alike in reasons.items():
            say(f"{name}: {', '.join(alike)}: {reason}")
    if len(failed) > MAX_REASONS:
        say(f"and {len(failed) - MAX_REASONS} more videos that lack a score")
    for path in options.outputs:
        say(f"written: {path}")
