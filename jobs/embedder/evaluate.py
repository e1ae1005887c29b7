"""`longtake train eval-embedder DESCRIPTOR...`: does a descriptor retrieve frames of the current or next view?

Steps: read, gather candidates, measure, write, draw, publish. The videos are true views of streets along a known camera
path, so the content of every frame is known; no video model samples. The same arguments give the
same files, and publishing them again changes nothing. Exit codes: 0 done, 2 bad input, 3 MLflow was not reached.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from longtake.jobs.background.publisher import how_to_open
from longtake.jobs.console import bar, console_for, say
from longtake.jobs.embedder import report as embedder_report
from longtake.jobs.embedder.candidates import Candidate, gather
from longtake.jobs.embedder.options import EmbedderEvalOptions
from longtake.jobs.shipped import CORPORA, SWEEPS
from longtake.jobs.sweep.prompts import check_distinct, prompts_in
from longtake.jobs.sweep.resolve import check_prompts, check_seeds, find_backbone, rounded_frames
from longtake.jobs.sweep.spec import check_output
from longtake.platform.errors import ConfigError
from longtake.platform.settings.text import read_lines
from longtake.platform.store import durable
from longtake.platform.store.root import OutputRoot
from longtake.platform.tracking import publish as tracking
from longtake.platform.tracking.client import TrackingError

if TYPE_CHECKING:
    from longtake.evaluators.retrieval.summary import DescriptorTally
    from longtake.platform.methods.base import Window

WHERE = Path("eval-embedder")
VIDEOS_AT_ONCE = 16
SHOW_SECONDS = 5.0


def evaluate(options: EmbedderEvalOptions, console: Console | None = None) -> int:
    """Runs the whole job; returns the exit code. Raises LongtakeError for errors that a user can fix."""
    from longtake.dashboards import embedder_figures
    from longtake.platform.machine.process import set_up_computing

    check_output(options.output)
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
        durable.make_folder(options.out or OutputRoot(options.output).evaluations)
        tallies = measure(options, backbone, prompts, frames, candidates, console)
        report = embedder_report.build(facts(options, backbone, prompts, frames, candidates), tallies, options.base)
    folder = options.out or OutputRoot(options.output).evaluations / f"eval-{report['id']}"
    durable.make_folder(folder)
    files = [*embedder_report.write(report, folder), *embedder_figures.draw(report, folder)]
    for table in embedder_report.tables(report):
        console.print(table)
    say(console, embedder_report.legend(report))
    say(console, f"report and figures: {folder}")
    return publish(options, report, files, console)


def read_prompts(options: EmbedderEvalOptions, backbone: Any) -> list[str]:
    """Reads the prompts and checks them against the backbone. Raises ConfigError (file, prompt)."""
    if not (backbone.spec.has_camera and backbone.spec.provides_prefix):
        raise ConfigError(
            f"--backbone {options.backbone}: has no known camera path, which the measures need; use pocket"
        )
    check_seeds(backbone, [options.seed], WHERE)
    places = [folder / options.prompts for folder in (Path(), SWEEPS, CORPORA)]
    path = next((place for place in places if os.path.isfile(place)), None)
    if path is None:
        raise ConfigError(f"--prompts {options.prompts}: no such file; give a file with one prompt per line")
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts {options.prompts}: cannot be read: {error}; give a UTF-8 file") from error
    prompts = check_distinct([*prompts_in(lines, path, options.limit)], options.prompts)
    if any(prompt.later for prompt in prompts):
        raise ConfigError(f"--prompts {options.prompts}: has timed prompts; give a file with one text per line")
    check_prompts(backbone, prompts, Path(options.prompts))
    return [prompt.text for prompt in prompts]


def check_length(options: EmbedderEvalOptions, spec: Any, frames: int) -> None:
    """Raises ConfigError if the videos end before the first frame is eligible for retrieval."""
    window: Window = spec.window
    starts = range(0, frames, window.block)
    if not any(len(window.evicted(first)) > options.recency_guard for first in starts):
        needed = window.size + options.recency_guard + window.block
        raise ConfigError(
            f"--seconds {options.seconds:g}: no frame is ever eligible with a window of {window.size} frames and "
            f"--recency-guard {options.recency_guard}; use more than {needed / spec.latent_fps:g} s"
        )


def measure(
    options: EmbedderEvalOptions,
    backbone: Any,
    prompts: Sequence[str],
    frames: int,
    candidates: Sequence[Candidate],
    console: Console,
) -> list[DescriptorTally]:
    """Measures every candidate on every video, in groups of videos, so memory does not grow with the prompts."""
    from longtake.evaluators.retrieval.run import run_retrieval
    from longtake.evaluators.retrieval.summary import DescriptorTally
    from longtake.evaluators.retrieval.world import true_videos
    from longtake.platform.machine.resources import Resources

    spec = backbone.spec
    tallies = [
        DescriptorTally(each.label, spec.window, frames / spec.latent_fps, spec.latent_fps) for each in candidates
    ]
    loaded = backbone(Resources(device="cpu"))
    groups = [prompts[start : start + VIDEOS_AT_ONCE] for start in range(0, len(prompts), VIDEOS_AT_ONCE)]
    with progress_display(console, frames * len(groups) * len(candidates)) as show:
        done = 0
        for number, group in enumerate(groups, 1):
            videos = true_videos(loaded, group, options.seed, frames, options.noise)
            for candidate, tally in zip(candidates, tallies, strict=True):
                note = f"{candidate.label}, {number} of {len(groups)} groups of videos"
                run = run_retrieval(
                    candidate.method,
                    videos,
                    spec.window,
                    lambda n, d=done, w=note: show(d + n, w),  # type: ignore[misc]
                )
                tally.add(run, videos)
                done += frames
    return tallies


@contextmanager
def progress_display(console: Console, total: int) -> Iterator[Callable[[int, str], None]]:
    """Shows a progress bar on a terminal, and elsewhere a line every SHOW_SECONDS."""
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
    options: EmbedderEvalOptions, backbone: Any, prompts: Sequence[str], frames: int, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """All settings that determine the numbers."""
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
        "descriptors": {each.label: {"descriptor": each.descriptor, "sha256": each.sha256} for each in candidates},
    }


def publish(options: EmbedderEvalOptions, report: dict[str, Any], files: list[Path], console: Console) -> int:
    """Publishes one run to MLflow; returns 3 if MLflow was not reached. The files hold the same numbers."""
    if options.uri is None:
        return 0
    try:
        published = tracking.publish(embedder_report.publication(report, files), options.uri)
    except TrackingError as error:
        say(console, str(error))
        return error.exit_code
    state, where = "published" if published.changed else "is up to date", how_to_open(options.uri, published.experiment)
    say(console, f"MLflow: {state}; {where}")
    return 0
