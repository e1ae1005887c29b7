"""Progress of a running sweep, read from the files that the run writes, without a connection to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from longtake.dashboards.overview import is_alive
from longtake.dashboards.store_index import StoreIndex
from longtake.platform.errors import LongtakeError
from longtake.platform.store.sweep import SweepStore

POLL_SECONDS = 1.0
QUIET_SECONDS = 15.0
MAX_FAILURES = 500
"""Maximum number of failures in a response; `failures_total` counts all."""


def progress(index: StoreIndex, store: SweepStore) -> dict[str, Any]:
    """progress.json, the number of takes in each state, and the failed attempts with their reasons."""
    latest = index.progress(store)
    failed_attempts = failures(index, store)
    return {
        **latest,
        "alive": is_alive(latest),
        "states": index.counts(store),
        "failures": failed_attempts[:MAX_FAILURES],
        "failures_total": len(failed_attempts),
    }


def failures(index: StoreIndex, store: SweepStore) -> list[dict[str, str]]:
    """All failed attempts, newest first."""
    states = index.states(store)
    rows = []
    for take in index.plan(store).takes:
        if take.id in states and states[take.id].has_failures and index.holds(store.failures_file(take.id)):
            path = store.failures_file(take.id)
            attempts = index.files.get(path, "failures", partial(store.failure_rows, take.id))
            rows += [
                {"take": take.id, "cell": str(take.cell), "at": row.at, "reason": str(row.failure)} for row in attempts
            ]
    return sorted(rows, key=lambda row: row["at"], reverse=True)


async def events(
    index: StoreIndex, store: SweepStore, text_of: Callable[[Any], str], stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """Server-sent events: `progress` at once and after each change, and a comment after QUIET_SECONDS without one. Ends
    when the server stops, or with an event `gone` when the sweep can no longer be read."""
    last, quiet = "", 0.0
    while not stopping():
        try:
            text = await asyncio.to_thread(lambda: text_of(progress(index, index.sweep(store.name))))
        except LongtakeError as error:
            yield f"event: gone\ndata: {json.dumps({'error': index.public_message(error)})}\n\n"
            return
        if text != last:
            last, quiet = text, 0.0
            yield f"data: {text}\n\n"
        elif quiet >= QUIET_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)
        quiet += POLL_SECONDS
