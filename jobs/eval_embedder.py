"""`longtake train eval-embedder DESCRIPTOR...`: does a descriptor retrieve frames that show the same, and what is next?

Named steps: read, gather the descriptors and their controls, measure, write, draw, publish, tell. The videos are true
views of streets along a known camera, so what a frame shows is known; no video model samples. The same arguments give
the same files, and publishing them again changes nothing. Exit codes: 0 done, 2 bad input, 3 MLflow was not reached.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from longtake.jobs import embedder_report
from longtake.jobs.grid import check_prompts, check_seeds, find_backbone, rounded_frames
from longtake.jobs.leaderboard import console_for
from longtake.jobs.publisher import OFF
from longtake.jobs.run import say, ui_command_of
from longtake.jobs.sweep import (
    MAX_SECONDS,
    PACKAGED_CORPORA,
    PACKAGED_SWEEPS,
    check_output,
    check_range,
    checked_prompts,
)
from longtake.jobs.train import bar
from longtake.platform import durable, model_registry, tracking
from longtake.platform.errors import ConfigError
from longtake.platform.store import NAME
from longtake.platform.tracking import TrackingError

if TYPE_CHECKING:
    from longtake.platform.methods.base import Window
    from longtake.platform.methods.memory import MemoryConfig
    from longtake.trainers.retrieval_summary import Tally

WHERE = Path("eval-embedder")
PROMPTS = "prompts/pocket.txt"
AVG_POOL, UNTRAINED, RANDOM, ORACLE = CONTROLS = ("avg-pool", "untrained", "random", "oracle")
VIDEOS_AT_ONCE = 16
SHOW_SECONDS = 5.0
GENERIC = ("embedder", "best", "model")
"""Names of files and folders that say nothing about whose they are."""


@dataclass(frozen=True)
class EvalOptions:
    """What is asked. `seed`: which streets; `noise`: standard deviation of what is added to every latent, whose mean
    square is 1, because frames that a model made are never the same twice."""

    descriptors: tuple[str, ...]
    backbone: str = "pocket"
    prompts: str = PROMPTS
    limit: int = 16
    seconds: float = 240.0
    seed: int = 1
    noise: float = 0.0
    top_k: int = 6
    recency_guard: int = 5
    out: Path | None = None
    output: str = "runs"
    tracking: str | None = None

    def __post_init__(self) -> None:
        check_range("--limit", self.limit, 1, 4096)
        check_range("--seconds", self.seconds, 1, MAX_SECONDS)
        check_range("--seed", self.seed, 0, 2**31 - 1)
        check_range("--noise", self.noise, 0, 10)
        check_range("--top-k", self.top_k, 1, 1024)
        check_range("--recency-guard", self.recency_guard, 0, 1_000_000)
        check_output(self.output)

    @property
    def uri(self) -> str | None:
        """The tracking store; None when tracking is off."""
        return None if self.tracking == OFF else self.tracking or tracking.default_uri(Path(self.output))


@dataclass(frozen=True)
class Candidate:
    """A row of the result: what it is called, what was asked for, and the method that retrieves by it."""

    label: str
    told: str
    method: MemoryConfig

    @property
    def sha256(self) -> str | None:
        return self.method.fingerprint().get("method.descriptor")


def evaluate(options: EvalOptions, console: Console | None = None) -> int:
    """The whole job; returns the exit code. Raises LongtakeError for what a user can mend."""
    from longtake.dashboards import embedder_figures
    from longtake.platform.process import set_up_computing

    set_up_computing()
    console = console or console_for()
    notes: list[str] = []
    backbone = find_backbone(options.backbone, WHERE)
    prompts = read_prompts(options, backbone)
    frames = rounded_frames("--seconds", options.seconds, backbone.spec, notes)
    check_length(options, backbone.spec, frames)
    with tempfile.TemporaryDirectory(prefix="longtake-") as scratch:
        candidates = gather(options, backbone.spec, Path(scratch), notes)
        for line in notes:
            say(console, line)
        tallies = measure(options, backbone, prompts, frames, candidates, console)
        report = embedder_report.build(facts(options, backbone, prompts, frames, candidates), tallies, AVG_POOL)
    folder = options.out or Path(options.output) / "embedders" / f"eval-{report['id']}"
    durable.make_folder(folder)
    files = [*embedder_report.write(report, folder), *embedder_figures.draw(report, folder)]
    for table in embedder_report.tables(report):
        console.print(table)
    say(console, embedder_report.legend(report))
    say(console, f"report and figures: {folder}")
    return publish(options, report, files, console)


def read_prompts(options: EvalOptions, backbone: Any) -> list[str]:
    """The prompts, checked against the backbone. Raises ConfigError that names the file and the prompt."""
    if not (backbone.spec.has_camera and backbone.spec.provides_start):
        raise ConfigError(
            f"--backbone {options.backbone}: has no known camera, so nobody can say what a frame shows; use pocket"
        )
    check_seeds(backbone, [options.seed], WHERE)
    places = [folder / options.prompts for folder in (Path(), PACKAGED_SWEEPS, PACKAGED_CORPORA)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(f"--prompts {options.prompts}: there is no such file; give one with a prompt a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts {options.prompts}: cannot be read: {error}") from error
    told = [line for line in lines if line and not line.startswith("#")][: options.limit]
    prompts = checked_prompts(told, options.prompts)
    check_prompts(backbone, prompts, Path(options.prompts))
    return prompts


def check_length(options: EvalOptions, spec: Any, frames: int) -> None:
    """ConfigError for videos that end before anything may be retrieved."""
    window: Window = spec.window
    starts = range(0, frames, window.block)
    if not any(len(window.evicted(first)) > options.recency_guard for first in starts):
        needed = window.size + options.recency_guard + window.block
        raise ConfigError(
            f"--seconds {options.seconds:g}: nothing may be retrieved yet with a window of {window.size} frames and "
            f"--recency-guard {options.recency_guard}; give more than {needed / spec.latent_fps:g} s"
        )


# The descriptors and their controls


def gather(options: EvalOptions, spec: Any, scratch: Path, notes: list[str]) -> list[Candidate]:
    """Those asked for, then the controls; appends to `notes`. Raises ConfigError or WeightsError."""
    from longtake.platform.methods.oracle import Oracle
    from longtake.platform.methods.rag import Rag
    from longtake.platform.methods.random_memory import RandomMemory

    budget: dict[str, Any] = {"top_k": options.top_k, "recency_guard": options.recency_guard}
    asked = options.descriptors or tuple(shipped_for(spec.latent))
    if not asked:
        notes.append(f"no embedder of {spec.name}'s latents ships yet; the controls alone are measured")
    named = {label: (told, path) for label, told, path in (resolve(name, options) for name in asked)}
    if len(named) < len(asked):
        raise ConfigError("eval-embedder: two descriptors go by one name; label one of them: LABEL=DESCRIPTOR")
    named.pop(AVG_POOL, None)
    found = [Candidate(label, told, Rag(descriptor=path, **budget)) for label, (told, path) in named.items()]
    for one in found:
        check(one, spec)
    sizes = untrained_sizes(found, spec)
    found += [
        Candidate(AVG_POOL, AVG_POOL, Rag(**budget)),
        Candidate(UNTRAINED, UNTRAINED, Rag(descriptor=str(untrained(sizes, options.seed, scratch)), **budget)),
        Candidate(RANDOM, "random-memory", RandomMemory(**budget)),
        Candidate(ORACLE, "oracle-memory", Oracle(**budget)),
    ]
    check(found[-1], spec)
    return found


def shipped_for(latent: tuple[int, int, int]) -> list[str]:
    """Shipped embedders made for these latents."""
    from longtake.platform.models.embedder import embedder_spec, shipped_embedders

    specs = {name: embedder_spec(name) for name in shipped_embedders()}
    return [name for name, one in specs.items() if (one.in_channels, one.spatial_h, one.spatial_w) == latent]


def resolve(name: str, options: EvalOptions) -> tuple[str, str, str]:
    """(label, descriptor as told, what a method takes) of `DESCRIPTOR` or `LABEL=DESCRIPTOR`."""
    label, equals, told = name.partition("=")
    if not equals or not NAME.fullmatch(label):
        label, told = "", name
    if label in CONTROLS and told != label:
        raise ConfigError(f"{name}: {label} is the name of a control that is always measured; choose another label")
    if not told.startswith(model_registry.SCHEME):
        return label or label_of(told), told, told
    if options.uri is None:
        raise ConfigError(f"{told}: needs a tracking store, and --tracking is {OFF}; name a file, or leave it out")
    version = model_registry.resolve(told, options.uri, Path(options.output).absolute() / "models")
    return label or f"{version.name}-{version.number}", told, str(version.weights)


def label_of(descriptor: str) -> str:
    """The last part of a path that says whose it is."""
    parts = [part.removesuffix(".safetensors") for part in Path(descriptor).parts]
    telling = [part for part in parts if part not in GENERIC] or parts or [descriptor]
    label = re.sub(r"[^a-z0-9._-]+", "-", telling[-1].lower()).strip("-._")[:64] or "embedder"
    return f"{label}-embedder" if label in CONTROLS and descriptor != label else label


def check(candidate: Candidate, spec: Any) -> None:
    """Window, latents, and that the weights are there and fit their sizes."""
    from longtake.platform.models.embedder import check_embedder, embedder_file

    candidate.method.check(spec.window, spec.latent)
    if (path := getattr(candidate.method, "descriptor", AVG_POOL)) != AVG_POOL:
        check_embedder(embedder_file(path))


def untrained_sizes(found: Sequence[Candidate], spec: Any) -> Any:
    """Sizes of the first embedder that was asked for; without one, small ones for these latents."""
    from longtake.platform.models.embedder import EmbedderSpec, embedder_spec

    paths = [getattr(one.method, "descriptor", AVG_POOL) for one in found]
    if paths:
        return embedder_spec(paths[0])
    channels, height, width = spec.latent
    return EmbedderSpec(channels, height, width, latent_dim=128, hidden_dims=(64, 128))


def untrained(sizes: Any, seed: int, scratch: Path) -> Path:
    """A file of an embedder as it is before its first step."""
    from longtake.platform.models.embedder import fresh_embedder, save_embedder

    path = scratch / f"{UNTRAINED}.safetensors"
    save_embedder(fresh_embedder(sizes, seed), path, {"training": None})
    return path


# Measuring


def measure(
    options: EvalOptions,
    backbone: Any,
    prompts: Sequence[str],
    frames: int,
    candidates: Sequence[Candidate],
    console: Console,
) -> list[Tally]:
    """Every candidate along every video; some videos at a time, so that memory does not grow with the prompts."""
    from longtake.platform.resources import Resources
    from longtake.trainers.retrieval import drive
    from longtake.trainers.retrieval_summary import Tally
    from longtake.trainers.retrieval_world import film

    spec = backbone.spec
    tallies = [Tally(one.label, spec.window, frames / spec.latent_fps, spec.latent_fps) for one in candidates]
    loaded = backbone(Resources(device="cpu"))
    groups = [prompts[start : start + VIDEOS_AT_ONCE] for start in range(0, len(prompts), VIDEOS_AT_ONCE)]
    with shown(console, frames * len(groups) * len(candidates)) as tell:
        done = 0
        for number, group in enumerate(groups, 1):
            videos = film(loaded, group, options.seed, frames, options.noise)
            for one, tally in zip(candidates, tallies, strict=True):
                note = f"{one.label}, {number} of {len(groups)} groups of videos"
                driven = drive(one.method, videos, spec.window, lambda n, d=done, w=note: tell(d + n, w))  # type: ignore[misc]
                tally.add(driven, videos)
                done += frames
    return tallies


@contextmanager
def shown(console: Console, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    if console.is_terminal:
        with bar(console) as progress:
            task = progress.add_task("frames", total=total, note="")
            yield lambda done, note: progress.update(task, completed=done, note=note)
        return
    last = time.monotonic()

    def line(done: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SHOW_SECONDS:
            last = time.monotonic()
            say(console, f"eval-embedder: {100 * done // total} %: {note}")

    yield line


def facts(
    options: EvalOptions, backbone: Any, prompts: Sequence[str], frames: int, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """What decides the numbers."""
    spec = backbone.spec
    return {
        "backbone": spec.name,
        "fingerprint": backbone.fingerprint(),
        "prompts": list(prompts),
        "seconds": frames / spec.latent_fps,
        "latent_frames": frames,
        "latent_fps": spec.latent_fps,
        "window": {"size": spec.window.size, "sink": spec.window.sink, "block": spec.window.block},
        "seed": options.seed,
        "noise": options.noise,
        "top_k": options.top_k,
        "recency_guard": options.recency_guard,
        "descriptors": {one.label: {"descriptor": one.told, "sha256": one.sha256} for one in candidates},
    }


def publish(options: EvalOptions, report: dict[str, Any], files: list[Path], console: Console) -> int:
    """One run in MLflow; 3 when it was not reached, and then the files say what it would have."""
    if options.uri is None:
        return 0
    try:
        published = tracking.publish(embedder_report.publication(report, files), options.uri)
    except TrackingError as error:
        say(console, str(error))
        return error.exit_code
    say(console, f"MLflow: {'published' if published.changed else 'is up to date'}; {ui_command_of(options.uri)}")
    return 0
