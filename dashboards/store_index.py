"""What the store holds, read again only where a file changed: the answers behind the first page.

Keeps parsed files by (path, size, time of change) and the states of a sweep's takes for a moment, so that a store of
10,000 takes answers at once. Writes nothing. A name that breaks the store's rules, or names nothing, is `Missing`.

A take's state: `scored` (made, and every suite of the sweep has scores), `made`, `failed` (not made, with a failed
attempt) or `planned`. Lists take a record's presence for its being whole; one take's view checks it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from longtake.platform import strict_yaml
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.names import NAME
from longtake.platform.store import durable
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.root import EVALUATION, OutputRoot
from longtake.platform.store.sweep import TAKE_ID, SweepStore, is_sweep, sweep_names
from longtake.platform.store.training import TrainingFolder
from longtake.platform.takes import Take

T = TypeVar("T")
Stamp = tuple[int, int, int]

MAX_FILES = 256
STATES = ("planned", "made", "scored", "failed")
FRESH_SECONDS = 1.0
"""States of takes are scanned at most this often, and for ten times as long as a scan took."""
ALIVE_SECONDS = 30.0
"""A run writes its progress about once a second; without a word for so long it is not running."""
TAIL_BYTES = 16384


class Missing(LongtakeError):
    """There is nothing of that name."""


class FileCache:
    """Values made from files, kept until the file's inode, size or time of change differs; the least used go first."""

    def __init__(self, limit: int = MAX_FILES) -> None:
        self.limit = limit
        self.kept: OrderedDict[tuple[str, str], tuple[Stamp, Any]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, path: Path, kind: str, load: Callable[[], T]) -> T:
        """`load()` of the file as it is now; a file that is not there is not remembered."""
        stamp = stamp_of(path)
        key = (str(path), kind)
        with self.lock:
            kept = self.kept.get(key)
            if kept is not None and kept[0] == stamp:
                self.kept.move_to_end(key)
                value: T = kept[1]
                return value
        value = load()
        with self.lock:
            self.kept.pop(key, None)
            if stamp is not None:
                self.kept[key] = (stamp, value)
            while len(self.kept) > self.limit:
                self.kept.popitem(last=False)
        return value


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file does; None where there is none."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_ino, now.st_size, now.st_mtime_ns


@dataclass(frozen=True)
class Plan:
    """A sweep's takes with what lists of them need."""

    takes: list[Take]
    by_id: dict[str, Take]
    prompts: list[str]
    suites: list[str]

    def distinct(self, of: Callable[[Take], T]) -> list[T]:
        """The values in the order of the plan."""
        return list(dict.fromkeys(of(take) for take in self.takes))


@dataclass(frozen=True)
class TakeState:
    """Where a take is, and whether attempts of it failed."""

    state: str
    has_failures: bool


PLANNED = TakeState("planned", False)


class StoreIndex:
    """One folder of sweeps. Safe to ask from several threads."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigError unless there is such a folder, which is none of a single sweep."""
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            raise ConfigError(f"{root}: no such folder; name the folder that `longtake run` wrote to")
        if is_sweep(self.root):
            raise ConfigError(f"{root}: is one sweep; name the folder that it lies in, {self.root.resolve().parent}")
        self.real_root = self.root.resolve()
        self.output = OutputRoot(self.root)
        self.files = FileCache()
        self.scans: dict[str, tuple[float, dict[str, TakeState]]] = {}

    # Names

    def sweep(self, name: str) -> SweepStore:
        """Raises Missing."""
        store = SweepStore(self.root, name) if NAME.fullmatch(name) else None
        if store is None or not self.holds(store.plan_file):
            raise Missing("there is no such sweep in this folder")
        files = store.sweep_file, store.ranks_file, store.history_file, store.progress_file
        self.keep_inside(*files, store.takes_folder)
        return store

    def take(self, store: SweepStore, take_id: str) -> Take:
        """A planned take. Raises Missing."""
        take = self.plan(store).by_id.get(take_id) if TAKE_ID.fullmatch(take_id) else None
        if take is None:
            raise Missing("there is no such take in this sweep")
        scores = [store.scores_file(take.id, suite) for suite in store.listing(take.id).suites]
        self.keep_inside(store.failures_file(take.id), store.result_file(take.id), *scores)
        return take

    def training(self, name: str) -> TrainingFolder:
        """Raises Missing."""
        folder = TrainingFolder(self.root, name) if NAME.fullmatch(name) else None
        if folder is None or not self.holds(folder.config_file):
            raise Missing("there is no such training in this folder")
        self.keep_inside(folder.steps_file, folder.validation_file)
        return folder

    def evaluation(self, name: str, file: str) -> Path:
        """A file of an embedder's evaluation. Raises Missing."""
        path = self.output.evaluations / name / file
        if not (NAME.fullmatch(name) and NAME.fullmatch(file)) or not self.holds(path):
            raise Missing("there is no such evaluation, or no such file in it")
        return path

    def holds(self, path: Path) -> bool:
        """Whether it is a file that lies in this folder, links followed."""
        try:
            return path.is_file() and is_inside(path, self.real_root)
        except (OSError, ValueError):
            return False

    def keep_inside(self, *paths: Path) -> None:
        """Raises Missing when one of them, there or not, lies out of this folder once links are followed."""
        if not all(is_inside(path, self.real_root) for path in paths):
            raise Missing("a file of it is a link that leads out of this folder; name the folder it lies in")

    def told(self, error: object) -> str:
        """An error in one line, without the place of this folder."""
        return " ".join(str(error).replace(str(self.root), "RUNS").split())

    # What files hold

    def plan(self, store: SweepStore) -> Plan:
        """Raises StorageError when the plan is damaged."""
        suites = self.files.get(store.sweep_file, "suites", lambda: suites_of(store))
        plan = self.files.get(store.plan_file, "plan", lambda: plan_of(store.plan(), []))
        return replace(plan, suites=suites)

    def ranks(self, store: SweepStore) -> Ranks | None:
        """The ranks, or None before the first and while the file is no record of ranks."""
        return self.files.get(store.ranks_file, "ranks", store.ranks)

    def progress(self, store: SweepStore) -> dict[str, Any]:
        return self.files.get(store.progress_file, "progress", store.progress) or {}

    def states(self, store: SweepStore, takes: list[Take] | None = None) -> dict[str, TakeState]:
        """Take id -> state, of some of the planned takes or of all."""
        plan, now = self.plan(store), time.monotonic()
        until, found = self.scans.get(store.name, (0.0, {}))
        if now < until and len(found) == len(plan.takes):
            return found
        if takes is not None:
            return {take.id: state_of(store, take.id, plan.suites) for take in takes}
        found = {take.id: state_of(store, take.id, plan.suites) for take in plan.takes}
        done = time.monotonic()
        self.scans[store.name] = (done + max(FRESH_SECONDS, 10 * (done - now)), found)
        return found

    def counts(self, store: SweepStore) -> dict[str, int]:
        """State -> how many takes."""
        counted = Counter(one.state for one in self.states(store).values())
        return {state: counted[state] for state in STATES}

    # The first page

    def overview(self) -> dict[str, Any]:
        """All sweeps, trainings and evaluations, one line each."""
        return {
            "root": str(self.root),
            "sweeps": [self.sweep_line(store) for store in self.sweeps()],
            "trainings": [self.training_line(folder) for folder in self.trainings()],
            "evaluations": [self.evaluation_line(name) for name in self.evaluations()],
        }

    def sweeps(self) -> list[SweepStore]:
        """All that may be shown, by name."""
        found = []
        for name in sweep_names(self.root):
            with suppress(Missing):
                found.append(self.sweep(name))
        return found

    def sweep_line(self, store: SweepStore) -> dict[str, Any]:
        """A sweep that cannot be read is a line with `error`."""
        try:
            plan, progress, uri = self.plan(store), self.progress(store), self.mlflow(store)
            counts = self.told_counts(store, plan)
        except LongtakeError as error:
            return {"name": store.name, "error": str(error), "takes": 0, "made": 0, "scored": 0, "failed": 0,
                    "running": 0, "updated_at": None, "suites": [], "seconds": [], "backbones": [], "methods": [],
                    "prompts": 0, "mlflow": None}  # fmt: skip
        return {
            "name": store.name,
            "takes": len(plan.takes),
            **counts,
            "running": len(progress.get("running") or []) if is_alive(progress) else 0,
            "updated_at": progress.get("updated_at") or changed_at(store.plan_file),
            "suites": plan.suites,
            "seconds": sorted(plan.distinct(lambda take: take.seconds)),
            "backbones": plan.distinct(lambda take: take.backbone),
            "methods": plan.distinct(lambda take: take.method.label),
            "prompts": len(plan.prompts),
            "mlflow": uri,
        }

    def told_counts(self, store: SweepStore, plan: Plan) -> dict[str, int]:
        """made, scored, failed: as the latest run told them if it knew this plan, else counted."""
        told = {key: self.progress(store).get(key) for key in ("total", "made", "scored", "failed")}
        if told["total"] == len(plan.takes) and all(isinstance(value, int) for value in told.values()):
            return {key: told[key] for key in ("made", "scored", "failed")}  # type: ignore[misc]
        counts = self.counts(store)
        return {"made": counts["made"] + counts["scored"], "scored": counts["scored"], "failed": counts["failed"]}

    def mlflow(self, store: SweepStore) -> str | None:
        """Where the sweep's runs are published, if that is a web address."""
        return self.files.get(store.sweep_file, "mlflow", lambda: mlflow_of(config_of(store)))

    def trainings(self) -> list[TrainingFolder]:
        folders = [TrainingFolder(self.root, name) for name in self.names_in(self.output.trainings)]
        return [folder for folder in folders if self.holds(folder.config_file)]

    def training_line(self, folder: TrainingFolder) -> dict[str, Any]:
        if not self.holds(folder.steps_file):
            return {"name": folder.name, "step": None, "updated_at": None}
        step = self.files.get(folder.steps_file, "step", lambda: last_step(folder.steps_file))
        return {"name": folder.name, "step": step, "updated_at": changed_at(folder.steps_file)}

    def evaluations(self) -> list[str]:
        where = self.output.evaluations
        return [name for name in self.names_in(where) if self.holds(where / name / EVALUATION)]

    def evaluation_line(self, name: str) -> dict[str, Any]:
        """`figures`: the names of its pictures, without the ending."""
        names = self.names_in(self.output.evaluations / name)
        figures = [one.removesuffix(".png") for one in names if one.endswith(".png")]
        return {"name": name, "figures": figures}

    def names_in(self, folder: Path) -> list[str]:
        """What a folder holds, without names that break the store's rules."""
        try:
            return sorted(name for name in durable.names_in(folder) if NAME.fullmatch(name))
        except OSError:
            return []


def is_inside(path: Path, root: Path) -> bool:
    """Whether the path lies in the resolved root once links are followed; a circle of links does not."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):
        return False


def plan_of(takes: list[Take], suites: list[str]) -> Plan:
    return Plan(takes, {take.id: take for take in takes}, list(dict.fromkeys(take.prompt for take in takes)), suites)


def config_of(store: SweepStore) -> dict[str, Any]:
    """The resolved sweep; empty where it cannot be read, because the plan alone is needed."""
    try:
        found = strict_yaml.parse(store.config_yaml() or "", store.name)
    except (LongtakeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def suites_of(store: SweepStore) -> list[str]:
    """The labels of the sweep's suites."""
    entries = config_of(store).get("suites")
    return [label_of(entry) for entry in entries if label_of(entry)] if isinstance(entries, list) else []


def label_of(entry: Any) -> str:
    """`NAME`, `{NAME: ...}` or `{NAME: ..., as: LABEL}`; '' for anything else, or a label that is no name."""
    label = entry.get("as", next(iter(entry), "")) if isinstance(entry, dict) else entry
    return label if isinstance(label, str) and NAME.fullmatch(label) else ""


def mlflow_of(config: dict[str, Any]) -> str | None:
    """An http(s) address without user, password and query; None for anything else."""
    tracking = config.get("tracking")
    uri = tracking.get("uri") if isinstance(tracking, dict) else None
    try:
        parts = urlsplit(uri) if isinstance(uri, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        place = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def state_of(store: SweepStore, take_id: str, suites: list[str]) -> TakeState:
    """By which files are there."""
    take = store.listing(take_id)
    if not take.made:
        return TakeState("failed" if take.has_failures else "planned", take.has_failures)
    scored = bool(suites) and take.suites.issuperset(suites)
    return TakeState("scored" if scored else "made", take.has_failures)


def is_alive(progress: dict[str, Any]) -> bool:
    """Whether a run has told its progress just now."""
    try:
        told = datetime.fromisoformat(str(progress.get("updated_at")))
        return abs((datetime.now(UTC) - told).total_seconds()) <= ALIVE_SECONDS
    except (ValueError, TypeError):
        return False


def changed_at(path: Path) -> str | None:
    """When the file changed, in UTC."""
    stamp = stamp_of(path)
    return None if stamp is None else datetime.fromtimestamp(stamp[2] / 1e9, UTC).isoformat(timespec="seconds")


def last_step(path: Path) -> int | None:
    """The step of the last whole row, reading the file's end alone."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            rows = durable.parse_json_lines(file.read())
    except OSError:
        return None
    steps = [row["step"] for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]
    return steps[-1] if steps else None
