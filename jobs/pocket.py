"""`longtake train pocket CONFIG`: make a pocket backbone again, with progress, in MLflow, resumable at any moment.

Owns the folder `<output>/training/<name>/` (state, losses, weights) and the screen; the trainer owns the arithmetic.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from longtake.jobs.console import bar
from longtake.platform import config as configs
from longtake.platform.errors import StorageError
from longtake.platform.process import set_up_computing
from longtake.platform.tracking.training_log import training_run
from longtake.trainers.pocket import PocketConfig, PocketTraining, StepReport, held_out_loss
from longtake.trainers.pocket_clips import Streets, make_streets

REPORT_EVERY = 50


def pocket(config: Path, overrides: list[str], output: Path = Path("runs")) -> int:
    """Train until done and write weights.safetensors; running it again goes on where it stopped. Returns 0."""
    settings = configs.load(config, PocketConfig, overrides)
    folder = open_folder(output / "training" / settings.name)
    set_up_computing()
    console = Console()
    with bar(console) as progress:
        streets = draw_streets(settings.streets, progress)
        training = PocketTraining(settings, streets, folder)
        if training.step:
            console.print(f"resuming {settings.name} at step {training.step} of {settings.steps}")
        with training_run(output, "train-pocket", settings.name, asdict(settings)) as log:
            for report in watched(training, progress):
                log(report.step, {"loss": report.loss, "lr": report.lr, "cpu_seconds": report.cpu_seconds})
                append(folder / "losses.csv", report)
            loss = held_out_loss(training)
            log(training.step, {"held_out_loss": loss})
    weights = training.export()
    minutes = training.cpu_seconds / 60
    console.print(f"{settings.name}: {training.step} steps, {minutes:.0f} CPU-minutes, held-out loss {loss:.4f}")
    console.print(f"weights: {weights}")
    return 0


def open_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}; choose a folder that can be written") from error
    return folder


def draw_streets(count: int, progress: Progress) -> Streets:
    task = progress.add_task("drawing streets", total=count, note="")
    return make_streets(count, lambda done: progress.update(task, completed=done))


def watched(training: PocketTraining, progress: Progress) -> Iterator[StepReport]:
    """Run the training; every so often give a report whose loss is the mean since the last one."""
    task = progress.add_task("training", total=training.config.steps, completed=training.step, note="")
    losses: list[float] = []
    for report in training.run():
        losses.append(report.loss)
        if report.step % REPORT_EVERY == 0 or report.step == training.config.steps:
            mean = sum(losses) / len(losses)
            progress.update(task, completed=report.step, note=f"loss {mean:.4f}")
            yield StepReport(report.step, mean, report.lr, report.cpu_seconds)
            losses.clear()


def append(path: Path, report: StepReport) -> None:
    """One row of losses.csv; a resumed training goes on below the last checkpoint, so steps may stand there twice."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", "loss", "lr", "cpu_seconds"])
        writer.writerow([report.step, f"{report.loss:.5f}", f"{report.lr:.6f}", f"{report.cpu_seconds:.1f}"])
