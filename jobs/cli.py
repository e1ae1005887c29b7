"""The `longtake` command: the list of its commands, its exit codes, one line per error.

A user error is one line on stderr; --debug shows the traceback. platform/errors.py has the exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from longtake.jobs.called import as_called
from longtake.jobs.commands import bench, checks, evaluate, files, results, sweep, train, upkeep, weights
from longtake.jobs.loading import announce_slow_imports
from longtake.jobs.surroundings import prepare
from longtake.platform.errors import LongtakeError, exit_code_table, masked
from longtake.platform.printable import printable
from longtake.platform.settings.paths import expanded_word
from longtake.platform.workers.signals import raise_on_stop

Command = Callable[..., int]
HELP = (
    "Experiments on long video generation: one sweep file in, ranked context methods out. "
    "Add `--debug` to any command to see tracebacks."
)
COMMANDS: dict[str, Command] = {
    "run": sweep.run,
    "plan": sweep.plan,
    "remake": upkeep.remake,
    "explain": upkeep.explain,
    "rename": upkeep.rename,
    "clip": upkeep.clip,
    "corpus": sweep.corpus,
    "eval": evaluate.evaluate,
    "leaderboard": results.leaderboard,
    "dashboard": results.dashboard,
    "traces": results.traces,
    "compare": results.compare,
    "list": checks.list_names,
    "methods": checks.methods,
    "doctor": checks.doctor,
    "new": files.new,
    "certify": checks.certify,
    "verify": checks.verify,
    "schema": files.schema,
}
GROUPS: dict[str, tuple[str, dict[str, Command]]] = {
    "bench": (
        "Benchmark generation and training.",
        {"engine": bench.engine, "sampler": bench.sampler, "embedder": bench.embedder},
    ),
    "train": (
        "Train pocket backbones and retrieval embedders.",
        {"pocket": train.pocket, "embedder": train.embedder, "eval-embedder": train.eval_embedder},
    ),
    "weights": (
        "List, download, convert and verify published weights.",
        {"list": weights.show, "pull": weights.pull, "convert": weights.convert, "verify": weights.verify},
    ),
}
NOTHING_KEPT = (
    "bench",
    "certify",
    "clip",
    "compare",
    "dashboard",
    "doctor",
    "explain",
    "leaderboard",
    "list",
    "methods",
    "plan",
    "schema",
    "traces",
    "verify",
)
"""Commands with nothing to resume after a stop."""

EXTRAS = dict.fromkeys(("diffusers", "ftfy", "huggingface_hub", "tokenizers", "transformers"), "wan")
EXTRAS["deepspeed"] = "train"
CLICK_INTERRUPTED = 130  # click's exit code for a KeyboardInterrupt


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"longtake {version('longtake')}")
        raise typer.Exit


def options(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """The options of `longtake` itself."""


def build() -> typer.Typer:
    """The command with all subcommands. Their jobs are imported when they run."""
    root = typer.Typer(
        name="longtake",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(options)
    for name, command in COMMANDS.items():
        root.command(name, epilog=exit_code_table() if name == "run" else None)(command)
    for name, (text, commands) in GROUPS.items():
        group = typer.Typer(help=text, no_args_is_help=True)
        for part, command in commands.items():
            group.command(part)(command)
        root.add_typer(group, name=name)
    return root


app = build()


def main() -> None:
    """The console script. Stop signals act like Ctrl-C, except inside the run loop, which has its own handlers."""
    raise_on_stop()
    prepare()
    announce_slow_imports()
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code; prints errors to stderr."""
    debug = "--debug" in arguments
    try:
        words = results.with_stdout([expanded_word(word) for word in arguments if word != "--debug"])
        code = app(args=words, standalone_mode=False)
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
        if isinstance(error, OSError) and error.filename is not None:
            return fail(f"{error.filename}: {error.strerror or error}; check the path and the disk", 5)
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
    return f"{message().rstrip('.') or 'wrong usage'}; see longtake --help"


def fail(message: str, code: int) -> int:
    print(f"longtake: {printable(masked(as_called(' '.join(message.split()))))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
