"""The `longtake` command: what it is called with, and what code it ends with. Everything heavy is imported when used.

A user's mistake is one line on stderr; a traceback needs --debug. Exit codes: 0 done, 1 a check failed or an internal
error, 2 bad config or usage, 3 done with failures, 4 sweep in use, 5 storage, 75 stopped (run again to resume).
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
    "`--debug` anywhere shows tracebacks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure the engine.", no_args_is_help=True)
train_app = typer.Typer(help="Train what Longtake ships.", no_args_is_help=True)
weights_app = typer.Typer(help="Published weights: what is here, fetch, convert, check.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")
app.add_typer(weights_app, name="weights")

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as seeds=[0,1].")
]
Runs = Annotated[Path, typer.Argument(metavar="[RUNS]", help="The folder that sweeps write to.")]
Sweep = Annotated[str | None, typer.Option(help="Only this sweep.")]
Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="A backbone, vbench, or artefacts of `longtake weights list`.")
]


@app.command()
def run(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Plan, generate, score, rank and publish a sweep; resumes by itself."""
    from longtake.jobs.sweep.run import run as run_sweep

    return run_sweep(sweep, overrides or [])


@app.command()
def plan(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Print a sweep's grid and what it will cost; changes nothing."""
    from longtake.jobs.console import console_for
    from longtake.jobs.sweep import plan as plans
    from longtake.jobs.sweep.grid import expand

    plans.show(expand(sweep, overrides or [], need_weights=False), console_for())
    return 0


@app.command()
def corpus(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The corpus spec.")],
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only hash every shard again.")] = False,
) -> int:
    """Make a corpus of latents, one entry per prompt, or import one; resumes by itself."""
    from longtake.jobs.corpus import make as job

    return job.verify(spec, overrides or []) if verify else job.make(spec, overrides or [])


@app.command("eval")
@options_of(FolderEvalOptions)
def evaluate(options: FolderEvalOptions) -> int:
    """Score every video of a folder. Ends with 3 when something could not be scored."""
    from longtake.jobs.folder_eval.run import eval_folder

    return eval_folder(options)


@app.command()
def leaderboard(
    runs: Runs = Path("runs"),
    sweep: Sweep = None,
    rank_unit: Annotated[
        str, typer.Option(metavar="cell|prompt", help="Rank cells by their means, or within each prompt and average.")
    ] = "cell",
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    length: Annotated[int | None, typer.Option(metavar="SECONDS", help="Only videos of this length.")] = None,
) -> int:
    """Show the ranks of every sweep in a folder, how they move with length and over runs, and drift."""
    from longtake.jobs.console import console_for
    from longtake.jobs.results.leaderboard import RankFilter
    from longtake.jobs.results.show import show_folder

    return show_folder(runs, sweep, RankFilter(rank_unit, suite, length), console_for())


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    host: Annotated[str, typer.Option(help="Where to listen; any but loopback needs the token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The next free one if it is taken; 0: any.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="LONGTAKE_DASHBOARD_TOKEN", help="Ask for this token; default: made where one is needed."),
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> int:
    """Compare backbones and methods by looking: a page over a folder of sweeps, which it only reads."""
    from longtake.jobs.dashboard import dashboard as serve

    return serve(runs, host, port, token, browse)


@app.command("traces")
def show_traces(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="A sweep's folder, such as runs/NAME.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write every number to this CSV file.")] = None,
) -> int:
    """What the methods of a made sweep attended: frames, similarity, age, places, attention."""
    from longtake.jobs.results.traces import traces

    return traces(folder, out)


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="A folder that `longtake run` wrote.")],
    base: Annotated[str | None, typer.Option(help="The method to compare with; default: the sweep's first.")] = None,
    metric: Annotated[str | None, typer.Option(help="Show this metric alone, by part of the video.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every number to this CSV file.")] = None,
) -> int:
    """Every method's scores against one method's, paired over prompts, with intervals."""
    from longtake.jobs.results.compare import compare as compare_sweep

    return compare_sweep(folder, base, metric, out)


@app.command()
def doctor(
    output: Annotated[str, typer.Option(help="The folder that results would go to.")] = "runs",
) -> int:
    """What can run here, and the command for what is missing; ends with 1 when nothing can."""
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
    """Check the engine against golden cases; ends with 1 when one fails."""
    from longtake.jobs.verify import verify as verify_folder

    return verify_folder(folder)


@bench_app.callback()
def bench() -> None:
    """Measure the engine."""


@bench_app.command("engine")
def bench_engine(
    frames: Annotated[int, typer.Option(min=60, help="Latent frames of each run (240 s are 960).")] = 240,
    out: Annotated[Path | None, typer.Option(help="Write every block's reading to this CSV file.")] = None,
) -> int:
    """CPU time per block of the engine, as a fraction of this machine's own matrix rate."""
    from longtake.jobs.bench.engine import engine

    return engine(frames, out)


@bench_app.command("sampler")
@options_of(BenchOptions)
def bench_sampler(
    options: BenchOptions,
    *,
    end_to_end: Annotated[bool, typer.Option(help="Also make whole videos, as `longtake run` does.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write every block's reading to this CSV file.")] = None,
) -> int:
    """Measure speed and memory of a backbone with random weights; downloads nothing."""
    from longtake.jobs.bench.sampler import sampler

    return sampler(options, end_to_end, out)


@bench_app.command("embedder")
def bench_embedder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config of `longtake train embedder`.")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers to compare one with.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write every step's reading to this CSV file.")] = None,
) -> int:
    """Training steps of a config: DeepSpeed against plain PyTorch, and several workers against one."""
    from longtake.jobs.bench.embedder import bench as run_bench

    return run_bench(config, overrides or [], workers, out)


@train_app.callback()
def train() -> None:
    """Train what Longtake ships."""


@train_app.command("pocket")
def train_pocket(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config.")], overrides: Overrides = None
) -> int:
    """Make a pocket backbone again from a seed; resumes by itself."""
    from longtake.jobs.pocket import pocket

    return pocket(config, overrides or [])


@train_app.command("embedder")
def train_embedder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config.")], overrides: Overrides = None
) -> int:
    """Train a retrieval embedder on a corpus, with as many workers as there are; resumes by itself."""
    from longtake.jobs.embedder.train import embedder

    return embedder(config, overrides or [])


@train_app.command("eval-embedder")
@options_of(EmbedderEvalOptions)
def train_eval_embedder(options: EmbedderEvalOptions) -> int:
    """Measure what descriptors retrieve on videos with known ground truth, beside controls; figures go to MLflow."""
    from longtake.jobs.embedder.evaluate import evaluate

    return evaluate(options)


@weights_app.callback()
def weights() -> None:
    """Published weights: what is here, fetch, convert, check."""


@weights_app.command("list")
def weights_list() -> int:
    """Show every artefact: where it comes from, what of it is here, what needs it."""
    from longtake.jobs import weights as job
    from longtake.jobs.console import console_for

    return job.show(console_for())


@weights_app.command("pull")
def weights_pull(
    names: Names,
    source: Annotated[
        Path | None, typer.Option("--from", help="Take the files from this folder, not from their publishers.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the repository.")] = None,
    convert: Annotated[bool, typer.Option(help="Convert what is a pickle.")] = True,
) -> int:
    """Fetch weights and convert them, such as `vbench` or a backbone's; run it again to go on where it stopped."""
    from longtake.jobs import weights as job

    return job.pull(names, source, revision, convert, print)


@weights_app.command("convert")
def weights_convert(
    names: Names,
    delete_source: Annotated[bool, typer.Option("--delete-source", help="Delete the pickles then.")] = False,
) -> int:
    """Turn fetched pickles and archives into safetensors; nothing of them is run."""
    from longtake.jobs import weights as job

    return job.convert(names, delete_source, print)


@weights_app.command("verify")
def weights_verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all that is here.")] = None,
) -> int:
    """Hash all files again and hold names and shapes against the architecture; ends with 1 when something differs."""
    from longtake.jobs import weights as job

    return job.verify(names or [], print)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar="sweep|corpus|embedder|pocket", help="The kind of file.")],
) -> int:
    """Print the JSON Schema of a kind of file, with which an editor completes and checks such files."""
    from longtake.jobs.schema import show

    return show(kind)


EXTRAS = dict.fromkeys(("diffusers", "ftfy", "huggingface_hub", "tokenizers", "transformers"), "wan")
EXTRAS["deepspeed"] = "train"
NOTHING_KEPT = ("bench", "compare", "dashboard", "doctor", "plan", "verify", "leaderboard", "traces")
CLICK_INTERRUPTED = 130  # what click makes of a KeyboardInterrupt


def main() -> None:
    """The console script. Outside the loop of a run, which has its own way to stop, SIGTERM is like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code; prints errors to stderr."""
    debug = "--debug" in arguments
    try:
        code = app(args=[word for word in arguments if word != "--debug"], standalone_mode=False)
        return fail(stopped(arguments), 75) if code == CLICK_INTERRUPTED else code if isinstance(code, int) else 0
    except LongtakeError as error:
        if debug:
            raise
        return fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return fail(stopped(arguments), 75)
    except ModuleNotFoundError as error:
        if debug:
            raise
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            return fail(internal(error), 1)
        return fail(f"{package} is not installed; run pip install 'longtake[{EXTRAS[package]}]'", 2)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            return 2
        usage = usage_error(error)
        if usage is not None:
            return fail(usage, 2)
        if debug:
            raise
        return fail(internal(error), 1)


def stopped(arguments: list[str]) -> str:
    """What a stop means: most commands go on where they were, those that keep nothing start over."""
    return "stopped" if arguments and arguments[0] in NOTHING_KEPT else "stopped; run again to resume"


def internal(error: Exception) -> str:
    return f"internal error: {type(error).__name__}: {error}; run it with --debug to see where"


def usage_error(error: Exception) -> str | None:
    """What click says about a wrong command line; None for any other error."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    return f"{message() or 'wrong usage'}; see longtake --help"


def fail(message: str, code: int) -> int:
    print(f"longtake: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
