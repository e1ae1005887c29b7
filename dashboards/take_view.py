"""Takes as the dashboard shows them: a filtered page of a sweep's takes, and everything about one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from longtake.dashboards.store_index import PLANNED, STATES, Missing, StoreIndex
from longtake.platform.errors import ConfigError
from longtake.platform.store import durable
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import FRAMES_PER_LATENT, Take

MAX_PAGE = 1000


@dataclass(frozen=True)
class Filter:
    """Which takes; None: all. `prompt`: its text, or its place in the list of prompts."""

    backbone: str | None = None
    method: str | None = None
    seconds: int | None = None
    prompt: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise ConfigError(f"state is one of {', '.join(STATES)}")


def page(index: StoreIndex, store: SweepStore, wanted: Filter, offset: int, limit: int) -> dict[str, Any]:
    """`limit` takes from the `offset`th on, in the order of the plan."""
    plan = index.plan(store)
    text = prompt_text(plan.prompts, wanted.prompt)
    found = [
        take
        for take in plan.takes
        if wanted.backbone in (None, take.backbone)
        and wanted.method in (None, take.method.label)
        and wanted.seconds in (None, take.seconds)
        and text in (None, take.prompt)
    ]
    if wanted.state is not None:
        all_states = index.states(store)
        found = [take for take in found if all_states.get(take.id, PLANNED).state == wanted.state]
    shown = found[offset : offset + limit]
    states, places = index.states(store, shown), {prompt: place for place, prompt in enumerate(plan.prompts)}
    rows = []
    for take in shown:
        state = states.get(take.id, PLANNED)
        known = state.has_failures and index.holds(store.failures_file(take.id))
        failures = len(durable.read_json_lines(store.failures_file(take.id))) if known else 0
        rows.append(line_of(take) | {"prompt_index": places[take.prompt], "state": state.state, "failures": failures})
    return {"total": len(found), "prompts": plan.prompts, "takes": rows}


def prompt_text(prompts: list[str], wanted: str | None) -> str | None:
    """The prompt's text, also where `wanted` is its place in the list. Raises Missing for one that is not there."""
    if wanted is None or wanted in prompts:
        return wanted
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) < len(prompts):
        return prompts[int(wanted)]
    raise Missing("the sweep has no such prompt")


def line_of(take: Take) -> dict[str, Any]:
    return {
        "id": take.id,
        "backbone": take.backbone,
        "method": take.method.label,
        "seconds": take.seconds,
        "prompt": take.prompt,
        "seed": take.seed,
    }


def detail(index: StoreIndex, store: SweepStore, take: Take) -> dict[str, Any]:
    """One take with its record and scores."""
    done = store.is_done(take)
    result = store.result(take.id) if done else None
    scores = scores_of(store, take.id) if done else {}
    rows = durable.read_json_lines(store.failures_file(take.id))
    failures = [str(row.get("reason", "")) for row in rows if isinstance(row, dict)]
    suites = index.plan(store).suites
    scored = bool(suites) and set(suites) <= set(scores)
    state = ("scored" if scored else "made") if done else ("failed" if failures else "planned")
    return {
        "take": {"id": take.id, "cell": str(take.cell), **take.to_json()},
        "state": state,
        "result": None if result is None else result.to_json(),
        "fps": None if result is None else result.fps,
        "frames": None if result is None else result.num_frames,
        "width": None if result is None else result.width,
        "height": None if result is None else result.height,
        "scores": scores,
        "failures": failures,
        "has_trace": index.holds(store.trace_file(take.id)),
    }


def scores_of(store: SweepStore, take_id: str) -> dict[str, dict[str, Any]]:
    """Suite -> its scores of the video that is there now."""
    found = {suite: store.scores(take_id, suite) for suite in sorted(store.listing(take_id).suites)}
    return {suite: scores.to_json() for suite, scores in found.items() if scores is not None}


def trace(index: StoreIndex, store: SweepStore, take: Take) -> dict[str, Any]:
    """The rows of the take's trace, and what turns latent frames into seconds. Raises Missing."""
    result = store.result(take.id)
    if result is None or not index.holds(store.trace_file(take.id)):
        raise Missing("this take has no trace; it is not made yet")
    return {
        "fps": result.fps,
        "latent_fps": result.fps / FRAMES_PER_LATENT,
        "frames_per_latent": FRAMES_PER_LATENT,
        "blocks": store.trace(take.id),
    }
