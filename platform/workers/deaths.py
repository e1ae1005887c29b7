"""Why a worker died, as far as the driver can find out: Ray's account, and the last output of its process.

Ray's account names a lost node or a full memory, but not the signal that ended a process. After a crash in native code
(SIGSEGV, SIGABRT, SIGBUS), the last lines on the process' standard error say which; they are in a file on its machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LAST_BYTES = 8192
LAST_LINES = 12
HEADER = re.compile(r"\s*(class_name|actor_id|pid|name|namespace|ip): ")
"""Lines of Ray's account that name the actor instead of a cause."""
LOST_NODE = "lost its node"
KINDS = (
    ("out of memory", ("OutOfMemory", "low on memory", "memory usage threshold")),
    (
        LOST_NODE,
        (
            "NodeDied",
            "node is dead",
            "node has died",
            "node was terminated",
            "node has crashed",
            "marked dead",
            "preempted",
        ),
    ),
)
CRASH = re.compile(r"Fatal Python error: ([^\n]+)|\b(SIG(?:SEGV|ABRT|BUS|FPE|ILL))\b|(terminate called [^\n]+)")


def output_file() -> str:
    """The file that has this process' standard error; empty if it is no file."""
    try:
        path = os.readlink("/proc/self/fd/2")
    except OSError:
        return ""
    return path if os.path.isfile(path) else ""


def cause_of(error: Exception, output: str) -> str:
    """The kind of death, if known, and then the whole account. `output`: the `output_file` of the dead process."""
    account = " ".join(line.strip() for line in str(error).splitlines() if not HEADER.match(line))
    text = f"{type(error).__name__}: {account}"
    last = last_lines(output)
    crash = CRASH.search("\n".join(last))
    kinds = [kind for kind, words in KINDS if any(word in text for word in words)]
    kind = next(iter(kinds), crash.group(0) if crash else "")
    said = f"; its last output: {' | '.join(last)}" if last else ""
    return f"{kind}: {text}{said}" if kind else f"{text}{said}"


def last_lines(output: str) -> list[str]:
    """The last lines of the file, without empty ones; none if it cannot be read here."""
    try:
        with Path(output).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-LAST_LINES:]
