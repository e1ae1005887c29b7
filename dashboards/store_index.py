"""An index of the store with cached files, for the start page and the API.

Caches parsed files by (path, inode, size, modification time), and briefly the states of the takes of a sweep, so that a
store of 10,000 takes responds at once. Writes nothing. Raises `Missing` for invalid and unknown names.

A take is `scored` or `made`, as the store defines it, `failed` (not made, with failed attempts) or `planned`.
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

from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.names import NAME
from longtake.platform.settings import strict_yaml
from longtake.platform.store import durable
from longtake.platform.store.durable import Stamp, stamp_of
from longtake.platform.store.index import TakeIndex
from longtake.platform.store.ranks import Ranks
from longtake.platform.store.root import EVALUATION, OutputRoot
from longtake.platform.store.sweep import TAKE_ID, SweepStore, is_sweep, sweep_names
from longtake.platform.store.training import TrainingFolder
from longtake.platform.takes import Take

T = TypeVar("T")
MAX_FILES = 256
STATES = ("planned", "made", "scored", "failed")
FRESH_SECONDS = 1.0
"""Scanned states of takes stay valid for this long, or for ten times the duration of the scan if that is longer."""
ALIVE_SECONDS = 30.0
"""A run writes its progress about once a second; after this time without an update it counts as stopped."""
TAIL_BYTES = 16384


class Missing(LongtakeError):
    """The requested sweep, take, training, file or page does not exist."""


class FileCache:
    """Values computed from files, cached until a file's inode, size or modification time changes; evicts the oldest."""

    def __init__(self, limit: int = MAX_FILES) -> None:
        self.limit = limit
        self.kept: OrderedDict[tuple[str, str], tuple[Stamp, Any]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, path: Path, kind: str, load: Callable[[], T]) -> T:
        """The result of `load()` for the current file; does not cache missing files."""
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


@dataclass(frozen=True)
class Plan:
    """The takes of a sweep, with the values that lists of them need."""

    takes: list[Take]
    by_id: dict[str, Take]
    prompts: list[str]
    suites: list[str]

    def distinct(self, of: Callable[[Take], T]) -> list[T]:
        """The distinct values in the order of the plan."""
        return list(dict.fromkeys(of(take) for take in self.takes))


@dataclass(frozen=True)
class TakeState:
    """The state of a take, and whether it has failed attempts."""

    state: str
    has_failures: bool


PLANNED = TakeState("planned", False)


class StoreIndex:
    """An index of one folder of sweeps. Thread-safe."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigError if the folder does not exist or is the folder of a single sweep."""
        self.root = Path(root).absolute()
        if not os.path.isdir(self.root):
            raise ConfigError(f"{root}: no such folder; give the output folder of `longtake run`")
        if is_sweep(self.root):
            raise ConfigError(f"{root}: is a single sweep; give its parent folder, {self.root.resolve().parent}")
        self.real_root = self.root.resolve()
        self.output = OutputRoot(self.root)
        self.files = FileCache()
        self.indexes: dict[str, TakeIndex] = {}
        self.lock = threading.Lock()
        self.scans: dict[str, tuple[float, dict[str, TakeState]]] = {}

    # Names

    def sweep(self, name: str) -> SweepStore:
        """Raises Missing."""
        store = SweepStore(self.root, name) if NAME.fullmatch(name) else None
        if store is None or not self.holds(store.plan_file):
            raise Missing("no such sweep in this folder")
        files = store.sweep_file, store.index_file, store.ranks_file, store.history_file, store.progress_file
        self.keep_inside(*files, store.takes_folder)
        return store

    def take(self, store: SweepStore, take_id: str) -> Take:
        """A planned take. Raises Missing."""
        take = self.plan(store).by_id.get(take_id) if TAKE_ID.fullmatch(take_id) else None
        if take is None:
            raise Missing("no such take in this sweep")
        scores = [store.scores_file(take.id, suite) for suite in store.suites_of(take.id)]
        self.keep_inside(store.failures_file(take.id), store.result_file(take.id), *scores)
        return take

    def training(self, name: str) -> TrainingFolder:
        """Raises Missing."""
        folder = TrainingFolder(self.root, name) if NAME.fullmatch(name) else None
        if folder is None or not self.holds(folder.config_file):
            raise Missing("no such training in this folder")
        self.keep_inside(folder.steps_file, folder.validation_file)
        return folder

    def evaluation(self, name: str, file: str) -> Path:
        """A file of an embedder's evaluation. Raises Missing."""
        path = self.output.evaluations / name / file
        if not (NAME.fullmatch(name) and NAME.fullmatch(file)) or not self.holds(path):
            raise Missing("no such evaluation, or no such file in it")
        return path

    def holds(self, path: Path) -> bool:
        """Whether the path is a file in this folder after following links."""
        try:
            return path.is_file() and is_inside(path, self.real_root)
        except (OSError, ValueError):
            return False

    def keep_inside(self, *paths: Path) -> None:
        """Raises Missing if a path, existing or not, is outside this folder after following links."""
        if not all(is_inside(path, self.real_root) for path in paths):
            raise Missing("one of its files is a link out of this folder; open the folder that it links to")

    def public_message(self, error: object) -> str:
        """An error as one line, without the path of this folder."""
        return " ".join(str(error).replace(str(self.root), "RUNS").split())

    # What files hold

    def plan(self, store: SweepStore) -> Plan:
        """Raises StorageError if the plan is damaged."""
        suites = self.files.get(store.sweep_file, "suites", lambda: suites_of(store))
        plan = self.files.get(store.plan_file, "plan", lambda: plan_of(store.plan(), []))
        return replace(plan, suites=suites)

    def ranks(self, store: SweepStore) -> Ranks | None:
        """The ranks; None if there are none yet or the file is malformed."""
        return self.files.get(store.ranks_file, "ranks", store.ranks)

    def progress(self, store: SweepStore) -> dict[str, Any]:
        return self.files.get(store.progress_file, "progress", store.progress) or {}

    def states(self, store: SweepStore, takes: list[Take] | None = None) -> dict[str, TakeState]:
        """Take id -> state, for `takes` or for all planned takes."""
        plan, now = self.plan(store), time.monotonic()
        valid_until, states = self.scans.get(store.name, (0.0, {}))
        if now < valid_until and len(states) == len(plan.takes):
            return states
        with self.lock:
            index = self.indexes.setdefault(store.name, store.index())
            read = plan.takes if takes is None else takes
            states = {take.id: state_of(store, index, take.id, plan.suites) for take in read}
        if takes is not None:
            return states
        done = time.monotonic()
        self.scans[store.name] = (done + max(FRESH_SECONDS, 10 * (done - now)), states)
        return states

    def counts(self, store: SweepStore) -> dict[str, int]:
        """State -> number of takes."""
        counted = Counter(one.state for one in self.states(store).values())
        return {state: counted[state] for state in STATES}

    # The first page

    def overview(self) -> dict[str, Any]:
        """All sweeps, trainings and evaluations, one entry each."""
        return {
            "root": str(self.root),
            "sweeps": [self.sweep_line(store) for store in self.sweeps()],
            "trainings": [self.training_line(folder) for folder in self.trainings()],
            "evaluations": [self.evaluation_line(name) for name in self.evaluations()],
        }

    def sweeps(self) -> list[SweepStore]:
        """All visible sweeps, by name."""
        stores = []
        for name in sweep_names(self.root):
            with suppress(Missing):
                stores.append(self.sweep(name))
        return stores

    def sweep_line(self, store: SweepStore) -> dict[str, Any]:
        """The entry of a sweep; a sweep that cannot be read has an `error`."""
        try:
            plan, progress, uri = self.plan(store), self.progress(store), self.mlflow(store)
            counts = self.latest_counts(store, plan)
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

    def latest_counts(self, store: SweepStore, plan: Plan) -> dict[str, int]:
        """made, scored, failed: from the progress of the latest run if it had this plan, else counted."""
        latest = {key: self.progress(store).get(key) for key in ("total", "made", "scored", "failed")}
        if latest["total"] == len(plan.takes) and all(isinstance(value, int) for value in latest.values()):
            return {key: latest[key] for key in ("made", "scored", "failed")}  # type: ignore[misc]
        counts = self.counts(store)
        return {"made": counts["made"] + counts["scored"], "scored": counts["scored"], "failed": counts["failed"]}

    def mlflow(self, store: SweepStore) -> str | None:
        """The MLflow address of the sweep, if it is a web address."""
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
        """`figures`: the names of its PNG files, without the suffix."""
        names = self.names_in(self.output.evaluations / name)
        figures = [one.removesuffix(".png") for one in names if one.endswith(".png")]
        return {"name": name, "figures": figures}

    def names_in(self, folder: Path) -> list[str]:
        """The valid names in a folder."""
        try:
            return sorted(name for name in durable.names_in(folder) if NAME.fullmatch(name))
        except OSError:
            return []


def is_inside(path: Path, root: Path) -> bool:
    """Whether the path is in the resolved root after following links; false for a cycle of links."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):
        return False


def plan_of(takes: list[Take], suites: list[str]) -> Plan:
    prompts = list(dict.fromkeys(take.full_prompt for take in takes))
    return Plan(takes, {take.id: take for take in takes}, prompts, suites)


def config_of(store: SweepStore) -> dict[str, Any]:
    """The resolved sweep config; empty if it cannot be read, because only the plan is required."""
    try:
        config = strict_yaml.parse(store.config_yaml() or "", store.name)
    except (LongtakeError, UnicodeDecodeError):
        return {}
    return config if isinstance(config, dict) else {}


def suites_of(store: SweepStore) -> list[str]:
    """The labels of the sweep's suites."""
    entries = config_of(store).get("suites")
    return [label_of(entry) for entry in entries if label_of(entry)] if isinstance(entries, list) else []


def label_of(entry: Any) -> str:
    """`NAME`, `{NAME: ...}` or `{NAME: ..., as: LABEL}`; '' for anything else, or for an invalid label."""
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
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def state_of(store: SweepStore, index: TakeIndex, take_id: str, suites: list[str]) -> TakeState:
    """The state of a take; its files are read again only if they have changed."""
    facts, has_failures = index.facts(take_id, suites), store.has_failures(take_id)
    if not facts.made:
        return TakeState("failed" if has_failures else "planned", has_failures)
    return TakeState("scored" if suites and facts.is_scored(suites) else "made", has_failures)


def is_alive(progress: dict[str, Any]) -> bool:
    """Whether a run has updated its progress within ALIVE_SECONDS."""
    try:
        updated_at = datetime.fromisoformat(str(progress.get("updated_at")))
        return abs((datetime.now(UTC) - updated_at).total_seconds()) <= ALIVE_SECONDS
    except (ValueError, TypeError):
        return False


def changed_at(path: Path) -> str | None:
    """The modification time of the file in UTC."""
    stamp = stamp_of(path)
    return None if stamp is None else datetime.fromtimestamp(stamp.modified_ns / 1e9, UTC).isoformat(timespec="seconds")


def last_step(path: Path) -> int | None:
    """The step of the last complete row; reads only the end of the file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            rows = durable.parse_json_lines(file.read())
    except OSError:
        return None
    steps = [row["step"] for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]
    return steps[-1] if steps else None
