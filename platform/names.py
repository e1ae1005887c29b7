"""What may be a name of a sweep, a label, a suite or a model: safe as the name of a file or a folder everywhere."""

import re

from longtake.platform.errors import ConfigError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(key: str, value: str) -> str:
    """`value` itself. Raises ConfigError, which starts with `key`, unless it can be the name of a file."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ConfigError(
            f"{key}: {str(value)[:80]!r} is not a name: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
        )
    return value
