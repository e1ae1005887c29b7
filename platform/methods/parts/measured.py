"""A parameter that names a file of measurements, or says `measured`: a take measures for itself."""

from pathlib import Path

from longtake.platform.digest import remembered_sha256
from longtake.platform.errors import ConfigError

MEASURED = "measured"
"""In place of a file."""


def file_fingerprint(parameter: str, path: str, kind: str) -> dict[str, str]:
    """What a config with this parameter returns from `fingerprint`: the sha256 of the file, or nothing for `measured`.
    `kind`: what the file is, for the ConfigError if it cannot be read."""
    if path == MEASURED:
        return {}
    try:
        return {f"method.{parameter}": remembered_sha256(Path(path))}
    except OSError as error:
        raise ConfigError(f"{parameter} {path}: {error.strerror}; name {kind}, or set {MEASURED}") from error
