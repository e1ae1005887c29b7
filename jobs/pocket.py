"""`longtake train pocket CONFIG`: trains a pocket backbone, shows progress, logs to MLflow, and resumes after a stop.

Owns the display and the order of steps; the trainer owns the arithmetic, `TrainingFolder` the files.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from longtake.jobs.console import bar
from longtake.platform.machine.process import set_up_computing
from longtake.platform.settings import config as configs
from longtake.platform.store.training import TrainingFolder
from longtake.platform.tracking.training_log import training_run
from longtake.trainers.pocket import PocketConfig, PocketTraining, StepReport, adopt_early_state, held_out_loss
from longtake.trainers.pocket_clips import TrainingScenes, make_scenes

REPORT_EVERY = 50


def pocket(config: Path, overrides: list[str], output: Path = Path("runs")) -> int:
    """Trains to the last step and writes the weights; a second call resumes a stopped training. Returns 0."""
    settings = configs.load(config, PocketConfig, overrides)
    folder = TrainingFolder(output, settings.name)
    set_up_computing()
    console = Console()
    with folder.lock(), bar(console) as progress:
        adopt_early_state(settings, folder)
        folder.keep_config(config_text(settings))
        streets = draw_streets(settings.streets, progress)
        training = PocketTraining(settings, streets, folder)
        if training.step:
            console.print(f"resuming {settings.name} at step {training.step} of {settings.steps}")
        with training_run(output, "train-pocket", settings.name, asdict(settings)) as log:
            for report in reports(training, progress):
                log(report.step, {"loss": report.loss, "lr": report.lr, "cpu_seconds": report.cpu_seconds})
                folder.add_step(asdict(report))
            loss = held_out_loss(training.averaged(), settings)
            log(training.step, {"held_out_loss": loss})
        weights = training.export()
    minutes = training.cpu_seconds / 60
    console.print(f"{settings.name}: {training.step} steps, {minutes:.0f} CPU-minutes, held-out loss {loss:.4f}")
    console.print(f"weights: {weights}")
    return 0


def config_text(settings: PocketConfig) -> str:
    """The config as YAML, without an unused `own_context`, which earlier versions did not have: theirs resume."""
    return configs.dump(settings).replace("own_context: null\n", "")


def draw_streets(count: int, progress: Progress) -> TrainingScenes:
    task = progress.add_task("drawing streets", total=count, note="")
    return make_scenes(count, lambda done: progress.update(task, completed=done))


def reports(training: PocketTraining, progress: Progress) -> Iterator[StepReport]:
    """Runs the training; yields a report every REPORT_EVERY steps, with the mean loss since the previous report."""
    task = progress.add_task("training", total=training.config.steps, completed=training.step, note="")
    losses: list[float] = []
    for report in training.run():
        losses.append(report.loss)
        if report.step % REPORT_EVERY == 0 or report.step == training.config.steps:
            mean = sum(losses) / len(losses)
            progress.update(task, completed=report.step, note=f"loss {mean:.4f}")
            yield StepReport(report.step, mean, report.lr, report.cpu_seconds)
            losses.clear()
