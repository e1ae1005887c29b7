"""Paths that users write: in files, in overrides and on the command line."""

from __future__ import annotations

import os
import re
from typing import Annotated

from longtake.platform.errors import ConfigError

IS_PATH = "path"
FilePath = Annotated[str, IS_PATH]
"""The type of a config field that holds a path: platform/settings/config.py expands its value."""

_LOCAL = re.compile(r"(file|sqlite):/{0,3}")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


def expanded(text: str) -> str:
    """The path with the home folder for a leading `~` or `~user` and the values of environment variables (`$NAME`).

    Also for the path in a `file:` or `sqlite:` address; other addresses stay as they are. Raises ConfigError, without
    the name of the key, for an unknown user or an unset variable.
    """
    local = _LOCAL.match(text)
    if local is None and _REMOTE.match(text):
        return text
    start = local[0] if local is not None else ""
    path = text.removeprefix(start)
    if path.startswith("~"):
        home = os.path.expanduser(path)
        if home == path:
            raise ConfigError(f"{text!r}: no home folder is known for {path.partition('/')[0]!r}; write the path out")
        path = home
    for name in _VARIABLE.findall(path):
        if name.strip("{}") not in os.environ:
            raise ConfigError(f"{text!r}: the environment variable {name.strip('{}')} is not set; write the path out")
    path = _VARIABLE.sub(lambda found: os.environ[found[1].strip("{}")], path)
    return ("file://" if start.startswith("file") and path.startswith("/") else start) + path


def expanded_word(word: str) -> str:
    """A word of a command line with `~` or `$NAME` at the start of its value expanded: a path that no shell has seen
    (`--out=~/scores.json`, a quoted '$HOME/videos', a process without a shell). No other argument starts like that."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{expanded(value)}" if value[:1] in ("~", "$") else word
