"""Where a local Ray keeps its sockets and logs. The path of a socket has a limit that a long TMPDIR exceeds."""

import os
import sys

from longtake.platform.errors import ConfigError

SOCKET_BYTES = 107 if sys.platform == "linux" else 103
"""Longest path of a Unix socket: sizeof(sockaddr_un.sun_path) less the terminating null byte."""
INNER = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The path of Ray's longest socket in its folder, with the largest process id of Linux."""
FOLDER_BYTES = SOCKET_BYTES - len(INNER)
SHORT = "/tmp/ray"


def short_folder() -> str | None:
    """A short folder if TMPDIR is too long for Ray's sockets; None if Ray's own choice fits. Raises ConfigError for a
    RAY_TMPDIR that is too long."""
    named = os.environ.get("RAY_TMPDIR", "")
    if len(os.fsencode(named)) > FOLDER_BYTES:
        raise ConfigError(
            f"RAY_TMPDIR: {named} has {len(os.fsencode(named))} bytes; Ray's sockets allow {FOLDER_BYTES}; "
            "set it to a shorter folder, such as /tmp"
        )
    given = "" if named else os.environ.get("TMPDIR", "")
    return SHORT if len(os.fsencode(given)) > FOLDER_BYTES else None
