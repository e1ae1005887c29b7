"""Which mutations of a user's file end in an internal error: seeded changes of every shipped file that a command reads.

    python -m tests.bench.faults.mutated_files [COUNT] [SEED]      default 1300 and 11
    python -m tests.bench.faults.mutated_files every               every value at every place of a whole file

Half of the mutations change the text (bytes, lines, indentation, YAML's own characters), half change the values (type,
range or length, a null character, a key that is missing, misspelt or has another's value). A file may be accepted or
refused with a LongtakeError; everything else is an internal error, which is printed with its file. Also counted are
messages that no terminal could print.
"""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from longtake.evaluators.results.folder import read_earlier
from longtake.jobs.console import console_for
from longtake.jobs.corpus import spec as corpora
from longtake.jobs.corpus.spec import CorpusConfig
from longtake.jobs.embedder.train import EmbedderJob, find_corpus
from longtake.jobs.folder_eval.prompts import match, read_prompts
from longtake.jobs.folder_eval.run import suite_entry
from longtake.jobs.sweep import plan as plans
from longtake.jobs.sweep import run as sweep_run
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.sweep.placement import groups
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.sweep.spec import SweepConfig
from longtake.platform.errors import LongtakeError
from longtake.platform.printable import is_text, printable
from longtake.platform.settings import config, strict_yaml
from longtake.platform.store.sweep import SweepStore
from longtake.platform.workers.ray_cluster import INLINE, connect
from longtake.trainers.pocket import PocketConfig

JOBS = Path(__file__).parents[3] / "jobs"
MARKS = list("[]{}:,-#&*!|>'\"%@`?~\t\n\r \0\\$\x85\u2028\ufeff\U0001f600")
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 64, 65, 3600, 3601, 10**9, 2**31, 10**17, -(10**17), 0.0, -0.0, 1e-300,
    0.5, 1e300, -1e300, "", " ", ".", "..", "/", "~", "a", "A", "1", "true", "auto", "cpu", "cuda:7", "inline", "local",
    "disabled", "native", "rag", "pocket", "classical", "avg-pool", "a\0b", "a" * 300, "a" * 20_000, "/dev/null",
    "/dev/null/a", "/proc/self/mem", "é", "\u2028", "\U0001f600", "\x1b[31m", "[", "{x", "%s", "{0}", "http://[::1",
    "ray://nowhere:1", "a b.py", "os.path", "x.y.z", ".", "models:/a", "models:/a@b", "file:///", "://", [], {}, [[]],
    [{}], [None], [1.5], ["a"], ["a", "a"], [[["a"]]], {"a": None}, {"as": "x"}, {"a": {}, "as": "x"}, {"a": 1, "b": 2},
    {"rag": {"top_k": 0}}, {"rag": {"top_k": 10**9}}, {"metrics": []}, {"metrics": ["a"], "as": "x"},
    {"metrics": [1], "as": "x"}, {"file": "a"}, {"file": "a\0"}, {"file": "."}, {"file": "a" * 5000}, {"file": 3},
    {"file": "prompts/pocket.txt", "limit": 10**17}, {"file": "prompts/pocket.txt", "limit": 0},
]  # fmt: skip


def plan_sweep(file: Path) -> None:
    """`longtake plan`, then `longtake run` up to its first take."""
    console = console_for(io.StringIO())
    plans.show(expand(file, [], need_weights=False), console)
    grid = expand(file, [])
    plans.check_capacity(grid)
    output = Path(grid.sweep.output).absolute()
    if output.is_relative_to(Path.cwd()) or output.is_relative_to("/dev/null") or not is_text(str(output)):
        start_sweep(grid, SweepStore(output, grid.sweep.name), console)


def start_sweep(grid: Grid, store: SweepStore, console: Console) -> None:
    with store.lock():
        store.sweep_leftovers()
        store.write_plan(grid.config_yaml, grid.takes)
        grid.plugins.keep(store.folder)
        sweep_run.announce(grid, store, 0, console)
        sweep_run.target_of(grid, store)
        Scheduler(store, grid.takes, grid.suites, print).read()
        with connect(INLINE) as cluster:
            groups(grid.sweep.workers, cluster, store, len(grid.takes), grid.gpus, grid.resources(store.root.texts))
    shutil.rmtree(store.folder)


def plan_corpus(file: Path) -> None:
    plan = corpora.expand(file, [])
    if plan.grid:
        plans.check_capacity(plan.grid)


def read_embedder(file: Path) -> None:
    job = config.load(file, EmbedderJob)
    find_corpus(job)
    config.dump(job.computed)


def read_pocket(file: Path) -> None:
    config.dump(config.load(file, PocketConfig))


def read_video_prompts(file: Path) -> None:
    match(read_prompts(file), ["a.mp4", "b/c.mp4"], file)


def read_report(file: Path) -> None:
    read_earlier(file, suite_entry("classical", ()))


Reader = Callable[[Path], None]
Seed = tuple[str, bytes, Reader]
"""A good file: its name, content and reader."""


def seeds() -> list[Seed]:
    groups: list[tuple[str, Reader]] = [("sweeps", plan_sweep), ("corpora", plan_corpus), ("training", read_pocket)]
    found = [(path, reader) for folder, reader in groups for path in sorted((JOBS / folder).glob("*.yaml"))]
    found = [(path, read_embedder if "embedder" in path.name else reader) for path, reader in found]
    found.append((JOBS / "templates" / "sweep.yaml", plan_sweep))
    files: list[Seed] = [(path.name, path.read_bytes(), reader) for path, reader in found]
    files += [resolved(name, data, reader) for name, data, reader in files[:]]
    files.append(("prompts.json", b'{"a.mp4": "dusk, brick", "b/c.mp4": "noon"}', read_video_prompts))
    files.append(("prompts.csv", b'video,prompt\na.mp4,"dusk, brick"\nc,noon\n', read_video_prompts))
    return [*files, ("report.json", report(), read_report)]


def resolved(name: str, data: bytes, reader: Reader) -> Seed:
    """The same file with all its keys."""
    kinds = {plan_sweep: SweepConfig, plan_corpus: CorpusConfig, read_embedder: EmbedderJob, read_pocket: PocketConfig}
    values = config.build(kinds[reader], strict_yaml.parse(data.decode(), name), name)
    return f"all-{name}", config.dump(values).encode(), reader


def report() -> bytes:
    """A small report of `longtake eval --out`."""
    facts = {"sha256": "0" * 64, "frames": 16, "fps": 16.0, "width": 64, "height": 48, "prompt": None}
    scores = {"metrics": {"x": 1.0}, "drift": {}, "clips": {"x": [1.0]}, "seconds": {"x": [0.0]}, "errors": {}}
    whole = {"suite": "classical", "protocol": "", "versions": {"suite": "classical-1"}, "overall": {"x": 1.0}}
    return json.dumps(whole | {"videos": {"a.mp4": facts | scores}}).encode()


def mutated(name: str, data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes of the text, or of the values."""
    in_text = name.endswith(".csv") or rng.random() < 0.5
    if in_text:
        for _ in range(int(rng.integers(1, 4))):
            data = changed_text(data, rng)
        return data
    value = json.loads(data) if name.endswith(".json") else strict_yaml.parse(data.decode(), name)
    for _ in range(int(rng.integers(1, 4))):
        value = changed_value(copy.deepcopy(value), rng)
    return (json.dumps(value) if name.endswith(".json") else strict_yaml.dump(value)).encode("utf-8", "surrogatepass")


def changed_text(data: bytes, rng: np.random.Generator) -> bytes:
    lines, at, kind = data.splitlines(keepends=True), int(rng.integers(max(1, len(data)))), int(rng.integers(8))
    row = int(rng.integers(max(1, len(lines))))
    if kind == 0:
        return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + pick(MARKS, rng).encode() + data[at:]
    if kind == 2:
        return data[:at] + data[at + int(rng.integers(1, 20)) :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return b"".join([*lines[:row], b"  ", *lines[row:]])
    if kind == 5:
        return b"".join([*lines[: row + 1], *lines[row:]])
    if kind == 6:
        return b"".join([*lines[:row], *lines[row + 1 :]])
    return data.replace(b" ", pick(MARKS, rng).encode(), 1 + int(rng.integers(3)))


def changed_value(value: Any, rng: np.random.Generator) -> Any:
    """`value` with one entry replaced, removed, renamed, added or exchanged with another."""
    places = list(places_of(value))
    if not places:
        return pick(VALUES, rng)
    holder, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(6))
    if kind == 1:
        del holder[key]
    elif kind == 2 and isinstance(holder, dict):
        holder[str(pick(VALUES, rng))[:80]] = holder.pop(key)
    elif kind == 3:
        other, its_key = places[int(rng.integers(len(places)))]
        holder[key] = copy.deepcopy(other[its_key])
    elif kind == 4:
        holder[key] = [holder[key], copy.deepcopy(holder[key])] if rng.random() < 0.5 else {"a": holder[key]}
    elif kind == 5 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * pick([-1, 10**3, 10**12, 1e-9, 0.1, 1e200], rng)
    else:
        holder[key] = copy.deepcopy(pick(VALUES, rng))
    return value


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of everything inside a value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places_of(value[key])


def pick(values: list[Any], rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


Mutation = tuple[str, bytes, Reader]


def at_random(count: int, seed: int) -> Iterator[Mutation]:
    rng, files = np.random.default_rng(seed), seeds()
    for number in range(count):
        name, data, reader = files[number % len(files)]
        yield name, mutated(name, data, rng), reader


def everywhere() -> Iterator[Mutation]:
    """VALUES at every place, and every place missing, for one file of each kind."""
    for name, data, reader in {seed[2]: seed for seed in seeds()}.values():
        if name.endswith(".csv"):
            continue
        read, write = (json.loads, json.dumps) if name.endswith(".json") else (yaml_of, strict_yaml.dump)
        for number in range(len(list(places_of(read(data))))):
            for value in [MISSING, *VALUES]:
                changed = read(data)
                holder, key = list(places_of(changed))[number]
                if value is MISSING:
                    del holder[key]
                else:
                    holder[key] = value
                yield name, write(changed).encode(), reader


MISSING = object()


def yaml_of(data: bytes) -> Any:
    return strict_yaml.parse(data.decode(), "")


def run(mutations: Iterable[Mutation], folder: Path) -> Counter[str]:
    """accepted, refused and internal, which together are all; then unprintable and slow (over 5 s)."""
    found = Counter[str]()
    for number, (name, data, reader) in enumerate(mutations):
        path = folder / f"{number}-{name}"
        path.write_bytes(data)
        started = time.perf_counter()
        kind, message = outcome(reader, path)
        seconds = time.perf_counter() - started
        found[kind] += 1
        found["slow"] += seconds > 5
        found["unprintable"] += message != printable(message)
        if kind == "internal" or message != printable(message) or seconds > 5:
            print(f"{kind} {path} ({seconds:.1f} s): {message!r:.400}", flush=True)
        else:
            path.unlink()
    return found


def outcome(reader: Reader, path: Path) -> tuple[str, str]:
    try:
        reader(path)
    except LongtakeError as error:
        return "refused", " ".join(str(error).split())
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "internal", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    return "accepted", ""


if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp(prefix="mutated-files-"))
    os.chdir(scratch)
    given = sys.argv[1:]
    count, seed = (*given, *("1300", "11")[len(given) :])[:2]
    for name, number in run(everywhere() if count == "every" else at_random(int(count), int(seed)), scratch).items():
        print(f"{name}: {number}")
