"""The `longtake` command: its arguments and its exit codes. Heavy modules are imported when a command needs them.

A user error is one line on stderr; --debug shows the traceback. Exit codes: 0 done, 1 a check failed or an internal
error, 2 bad config or usage, 3 done with failures, 4 sweep in use, 5 storage error, 75 stopped (run again to resume).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.embedder.options import EmbedderEvalOptions
from longtake.jobs.folder_eval.options import FolderEvalOptions
from longtake.jobs.options import options_of
from longtake.platform.errors import LongtakeError

app = typer.Typer(
    name="longtake",
    help="Experiments on long video generation: one sweep file in, ranked context methods out. "
    "Add `--debug` to any command to see tracebacks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Benchmark generation and training.", no_args_is_help=True)
train_app = typer.Typer(help="Train pocket backbones and retrieval embedders.", no_args_is_help=True)
weights_app = typer.Typer(help="List, download, convert and verify published weights.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")
app.add_typer(weights_app, name="weights")

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Override keys of the file, such as seeds=[0,1].")
]
Runs = Annotated[Path, typer.Argument(metavar="[RUNS]", help="Output folder of the sweeps.")]
Sweep = Annotated[str | None, typer.Option(help="Show only this sweep.")]
Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="A backbone, vbench, or an artefact of `longtake weights list`.")
]


@app.command()
def run(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Plan, generate, score, rank and publish a sweep. Run it again to resume."""
    from longtake.jobs.sweep.run import run as run_sweep

    return run_sweep(sweep, overrides or [])


@app.command()
def plan(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Print the grid of a sweep and its estimated cost. Writes nothing."""
    from longtake.jobs.console import console_for
    from longtake.jobs.sweep import plan as plans
    from longtake.jobs.sweep.grid import expand

    plans.show(expand(sweep, overrides or [], need_weights=False), console_for())
    return 0


@app.command()
def corpus(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The corpus file.")],
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the hash of every shard.")] = False,
) -> int:
    """Generate or import a corpus of latents, one entry per prompt. Run it again to resume."""
    from longtake.jobs.corpus import make as job

    return job.verify(spec, overrides or []) if verify else job.make(spec, overrides or [])


@app.command("eval")
@options_of(FolderEvalOptions)
def evaluate(options: FolderEvalOptions) -> int:
    """Score every video in a folder. Exits with 3 if a metric of a video has no value."""
    from longtake.jobs.folder_eval.run import eval_folder

    return eval_folder(options)


@app.command()
def leaderboard(
    runs: Runs = Path("runs"),
    sweep: Sweep = None,
    rank_unit: Annotated[
        str, typer.Option(metavar="cell|prompt", help="Rank by means, or rank within each prompt and average.")
    ] = "cell",
    suite: Annotated[str | None, typer.Option(help="Show only this suite.")] = None,
    length: Annotated[int | None, typer.Option(metavar="SECONDS", help="Show only videos of this length.")] = None,
) -> int:
    """Show the ranks of every sweep in a folder, their change with length and between runs, and drift."""
    from longtake.jobs.console import console_for
    from longtake.jobs.results.leaderboard import RankFilter
    from longtake.jobs.results.show import show_folder

    return show_folder(runs, sweep, RankFilter(rank_unit, suite, length), console_for())


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    host: Annotated[str, typer.Option(help="Listen address; any except loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="If in use, the next free one; 0: any free port.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="LONGTAKE_DASHBOARD_TOKEN", help="Access token; default: generated if one is required."),
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> int:
    """Serve a web page that compares backbones and methods over a folder of sweeps. Read-only."""
    from longtake.jobs.dashboard import dashboard as serve

    return serve(runs, host, port, token, browse)


@app.command("traces")
def show_traces(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="The folder of a sweep, such as runs/NAME.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write all numbers to this CSV file.")] = None,
) -> int:
    """Show what the methods of a sweep attended to: frames, similarity, age, places, attention."""
    from longtake.jobs.results.traces import traces

    return traces(folder, out)


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="The folder of a sweep, such as runs/NAME.")],
    base: Annotated[str | None, typer.Option(help="Baseline method; default: the first of the sweep.")] = None,
    metric: Annotated[str | None, typer.Option(help="Show only this metric, by part of the video.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers to this CSV file.")] = None,
) -> int:
    """Compare the scores of every method with a baseline, paired over prompts, with confidence intervals."""
    from longtake.jobs.results.compare import compare as compare_sweep

    return compare_sweep(folder, base, metric, out)


@app.command()
def doctor(
    output: Annotated[str, typer.Option(help="Output folder to check.")] = "runs",
) -> int:
    """Check what can run on this machine and how to install the rest. Exits with 1 if no backbone can run."""
    from longtake.jobs.console import console_for
    from longtake.jobs.doctor import doctor as examine

    return examine(output, console_for())


@app.command("new")
def new_file(
    kind: Annotated[str, typer.Argument(metavar="method|metric|backbone|sweep")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What a sweep calls it.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write the file.")] = Path(),
) -> int:
    """Write a commented file that runs as it is: a method, metric or backbone of your own, or a sweep of those here."""
    from longtake.jobs.new import new

    return new(kind, name, folder)


@app.command("certify")
def certify_file(file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A plug-in.")]) -> int:
    """Hold a method, metric or backbone of your own to its contract; ends with 1 when a check fails."""
    from longtake.jobs.certify.command import certify

    return certify(file)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of golden cases.")]) -> int:
    """Check the engine against golden cases. Exits with 1 if a case fails."""
    from longtake.jobs.verify import verify as verify_folder

    return verify_folder(folder)


@bench_app.callback()
def bench() -> None:
    """Benchmark generation and training."""


@bench_app.command("engine")
def bench_engine(
    frames: Annotated[int, typer.Option(min=60, help="Latent frames per run (960 frames are 240 s).")] = 240,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every block to this CSV file.")] = None,
) -> int:
    """Measure CPU time per block, relative to the matrix multiplication rate of this machine."""
    from longtake.jobs.bench.engine import engine

    return engine(frames, out)


@bench_app.command("sampler")
@options_of(BenchOptions)
def bench_sampler(
    options: BenchOptions,
    *,
    end_to_end: Annotated[bool, typer.Option(help="Also generate whole videos, as `longtake run` does.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every block to this CSV file.")] = None,
) -> int:
    """Measure the speed and memory of a backbone with random weights. Downloads nothing."""
    from longtake.jobs.bench.sampler import sampler

    return sampler(options, end_to_end, out)


@bench_app.command("embedder")
def bench_embedder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config of `longtake train embedder`.")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of workers to compare with one.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every step to this CSV file.")] = None,
) -> int:
    """Measure training steps: DeepSpeed against plain PyTorch, and several workers against one."""
    from longtake.jobs.bench.embedder import bench as run_bench

    return run_bench(config, overrides or [], workers, out)


@train_app.callback()
def train() -> None:
    """Train pocket backbones and retrieval embedders."""


@train_app.command("pocket")
def train_pocket(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config.")], overrides: Overrides = None
) -> int:
    """Train a pocket backbone from a seed. Run it again to resume."""
    from longtake.jobs.pocket import pocket

    return pocket(config, overrides or [])


@train_app.command("embedder")
def train_embedder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config.")], overrides: Overrides = None
) -> int:
    """Train a retrieval embedder on a corpus with all available workers. Run it again to resume."""
    from longtake.jobs.embedder.train import embedder

    return embedder(config, overrides or [])


@train_app.command("eval-embedder")
@options_of(EmbedderEvalOptions)
def train_eval_embedder(options: EmbedderEvalOptions) -> int:
    """Evaluate descriptors on videos with known ground truth, with controls. Logs figures to MLflow."""
    from longtake.jobs.embedder.evaluate import evaluate

    return evaluate(options)


@weights_app.callback()
def weights() -> None:
    """List, download, convert and verify published weights."""


@weights_app.command("list")
def weights_list() -> int:
    """List every artefact with its source, its local files and the components that need it."""
    from longtake.jobs import weights as job
    from longtake.jobs.console import console_for

    return job.show(console_for())


@weights_app.command("pull")
def weights_pull(
    names: Names,
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy the files from this folder instead of downloading.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository.")] = None,
    convert: Annotated[bool, typer.Option(help="Convert pickles to safetensors.")] = True,
) -> int:
    """Download and convert weights, such as `vbench` or those of a backbone. Run it again to resume."""
    from longtake.jobs import weights as job

    return job.pull(names, source, revision, convert, print)


@weights_app.command("convert")
def weights_convert(
    names: Names,
    delete_source: Annotated[bool, typer.Option("--delete-source", help="Delete converted pickles.")] = False,
) -> int:
    """Convert downloaded pickles and archives to safetensors. Runs no code from them."""
    from longtake.jobs import weights as job

    return job.convert(names, delete_source, print)


@weights_app.command("verify")
def weights_verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all local ones.")] = None,
) -> int:
    """Check file hashes, and tensor names and shapes against the architecture. Exits with 1 on a difference."""
    from longtake.jobs import weights as job

    return job.verify(names or [], print)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar="sweep|corpus|embedder|pocket", help="Kind of file.")],
) -> int:
    """Print the JSON Schema of a kind of file, for completion and checks in an editor."""
    from longtake.jobs.schema import show

    return show(kind)


EXTRAS = dict.fromkeys(("diffusers", "ftfy", "huggingface_hub", "tokenizers", "transformers"), "wan")
EXTRAS["deepspeed"] = "train"
NOTHING_KEPT = (
    "bench",
    "certify",
    "compare",
    "dashboard",
    "doctor",
    "leaderboard",
    "plan",
    "schema",
    "traces",
    "verify",
)
CLICK_INTERRUPTED = 130  # click's exit code for a KeyboardInterrupt


def main() -> None:
    """The console script. SIGTERM acts like Ctrl-C, except inside the run loop, which handles signals itself."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code; prints errors to stderr."""
    debug = "--debug" in arguments
    try:
        code = app(args=[word for word in arguments if word != "--debug"], standalone_mode=False)
        return fail(stop_message(arguments), 75) if code == CLICK_INTERRUPTED else code if isinstance(code, int) else 0
    except LongtakeError as error:
        if debug:
            raise
        return fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return fail(stop_message(arguments), 75)
    except ModuleNotFoundError as error:
        if debug:
            raise
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            return fail(internal_error(error), 1)
        return fail(f"{package} is not installed; run pip install '.[{EXTRAS[package]}]'", 2)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            return 2
        usage = usage_error(error)
        if usage is not None:
            return fail(usage, 2)
        if debug:
            raise
        return fail(internal_error(error), 1)


def stop_message(arguments: list[str]) -> str:
    """The message after a signal. Most commands can resume; those in NOTHING_KEPT start over."""
    return "stopped" if arguments and arguments[0] in NOTHING_KEPT else "stopped; run again to resume"


def internal_error(error: Exception) -> str:
    return f"internal error: {type(error).__name__}: {error}; run again with --debug to see the traceback"


def usage_error(error: Exception) -> str | None:
    """Click's message about a wrong command line; None for any other error."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    return f"{message() or 'wrong usage'}; see longtake --help"


def fail(message: str, code: int) -> int:
    print(f"longtake: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
