"""The errors that end a command, each with the command's exit code.

A message is one line that names the file or value, the rule and the next step. Every error takes only this string, so
that it pickles and crosses process boundaries unchanged. Passwords and keys in addresses are masked in it, and the
colours of a terminal, which Ray puts into its accounts, are removed.
"""

import re

from longtake.platform.printable import printable

USERINFO = re.compile(r"(?<=://)(?!(?:\[[^\]\s]*\]|[^\s:/?#@]*)(?::\d+)?[/?#])(?:[^\s/@]+:\S*|[^\s/@]+)@")
"""What precedes the host of an address, up to the last @, which may be one of the password. Nothing where the address
begins with 'host/' or 'host:port/': an @ behind it belongs to the path."""
SECRET_FIELD = re.compile(
    r"([?&][\w.-]*(?:key|token|secret|passw|pwd|auth|sig|credential)[\w.-]*=)[^\s&#'\"]+", re.IGNORECASE
)

COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""An ANSI control sequence."""


def masked(text: str) -> str:
    """The text with *** for the 'user:password' of addresses, and for fields of their queries such as `?key=`."""
    return SECRET_FIELD.sub(r"\1***", USERINFO.sub("***@", text))


def without_colours(text: str) -> str:
    return COLOUR.sub("", text)


EXIT_CODES = {
    0: "done",
    1: "a check failed, or an internal error (`--debug` shows where)",
    2: "a bad file, value or option, or missing weights: fix it first",
    3: "done with recorded failures: takes set aside, scores or MLflow missing",
    4: "another process holds the sweep: wait for it",
    5: "the store cannot be written or read: free space or repair it first",
    75: "stopped by a signal, or the cluster is lost or busy: run it again",
}
"""Exit code -> meaning, as in docs/sweeps.md. Only 75 (EX_TEMPFAIL) asks for the same command again, unchanged."""


class LongtakeError(Exception):
    """Base of all errors that end a command with one line instead of a traceback."""

    exit_code: int = 1

    def __init__(self, message: str) -> None:
        super().__init__(masked(printable(without_colours(message))))

    def __str__(self) -> str:
        return str(self.args[0])


def first_line(error: Exception) -> str:
    """The first line of an error's text, as in `brief`, cut at 200 characters; its type if it has no text."""
    return brief((without_colours(str(error)).strip() or type(error).__name__).splitlines()[0], 200)


def brief(text: object, limit: int = 300) -> str:
    """The text on one line, cut. Secrets are masked before the cut, since half an address would not be recognised."""
    return masked(printable(" ".join(str(text).split())))[:limit]


def exit_code_table() -> str:
    """The exit codes, a line each, for the end of a command's help; click keeps the lines of a text after `\\b`."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:<3} {meaning}" for code, meaning in EXIT_CODES.items())


class ConfigError(LongtakeError):
    """A file, key, value or name given by the user breaks a rule."""

    exit_code = 2


class WeightsError(LongtakeError):
    """Weights are missing, do not have the pinned checksum, or do not fit the model."""

    exit_code = 2


class NotPulledError(WeightsError):
    """Published weights are not on this machine yet; `longtake weights` gets them."""


class SetupError(LongtakeError):
    """A worker could not start: not enough memory, or a broken library or driver."""

    exit_code = 2


class VideoError(LongtakeError):
    """A video cannot be read, or differs from its header or its record."""

    exit_code = 3


class LockedError(LongtakeError):
    """Another process holds the folder or file."""

    exit_code = 4


class StorageError(LongtakeError):
    """The store cannot be written or read: permissions, space, or files that do not match their record."""

    exit_code = 5


class RecordError(LongtakeError):
    """A record of one take has another shape: that take fails, and the others go on."""

    exit_code = 5


class Interrupted(LongtakeError):
    """Stopped by a signal before the end; the same command resumes."""

    exit_code = 75


class ClusterUnavailable(LongtakeError):
    """The cluster is lost, busy or out of reach; the same command resumes once it is back."""

    exit_code = 75
