"""What a command accepts of its surroundings: a console of any encoding, and warnings that the user made errors.

Changes this process, and through the environment those that it starts.
"""

import os
import sys
import warnings
from collections.abc import Iterable

VARIABLE = "PYTHONWARNINGS"


def prepare() -> None:
    """Called once, before a command. Safe to repeat."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    never_raise_warnings()


def never_raise_warnings() -> None:
    """Show warnings that `-W error` or PYTHONWARNINGS=error would raise, which then end a run in a library's code."""
    kept = without_errors(sys.warnoptions)
    if kept == sys.warnoptions:
        return
    sys.warnoptions[:] = kept
    if VARIABLE in os.environ:
        os.environ[VARIABLE] = ",".join(without_errors(os.environ[VARIABLE].split(",")))
    warnings.simplefilter("default")


def without_errors(options: Iterable[str]) -> list[str]:
    """The options without those that raise. An action may be shortened: `error`, `err`, `e`."""
    actions = [(option, option.partition(":")[0].strip()) for option in options]
    return [option for option, action in actions if not action or not "error".startswith(action)]
