"""Names of sweeps, labels, suites and models: safe as the name of a file or folder on every system. Counted nouns."""

import re

from longtake.platform.errors import ConfigError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(key: str, value: str) -> str:
    """Return `value`. Raises ConfigError that starts with `key` unless the value is a valid name."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ConfigError(
            f"{key}: {str(value)[:80]!r} is not a name: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
        )
    return value


def counted(number: int, noun: str) -> str:
    """'1 prompt', '3 prompts'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
