"""Takes as JSON: a filtered page of the takes of a sweep, and the details of one take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from longtake.dashboards.store_index import StoreIndex
from longtake.dashboards.take_states import PLANNED, STATES
from longtake.dashboards.visible_folder import Missing
from longtake.platform.errors import ConfigError
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import FRAMES_PER_LATENT, Take

MAX_PAGE = 1000


@dataclass(frozen=True)
class Filter:
    """Filters of takes; None: no filter. `prompt`: its text, or its index in the list of prompts."""

    backbone: str | None = None
    method: str | None = None
    seconds: int | None = None
    prompt: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise ConfigError(f"state: must be one of {', '.join(STATES)}")


def page(index: StoreIndex, store: SweepStore, filters: Filter, offset: int, limit: int) -> dict[str, Any]:
    """Up to `limit` takes from number `offset` on, in the order of the plan."""
    plan = index.plan(store)
    text = prompt_text(plan.prompts, filters.prompt)
    takes = [
        take
        for take in plan.takes
        if filters.backbone in (None, take.backbone)
        and filters.method in (None, take.method.label)
        and filters.seconds in (None, take.seconds)
        and text in (None, take.full_prompt)
    ]
    if filters.state is not None:
        all_states = index.states(store)
        takes = [take for take in takes if all_states.get(take.id, PLANNED).state == filters.state]
    shown = takes[offset : offset + limit]
    states, indices = index.states(store, shown), {prompt: i for i, prompt in enumerate(plan.prompts)}
    rows = []
    for take in shown:
        state = states.get(take.id, PLANNED)
        failed = state.has_failures and index.holds(store.failures_file(take.id))
        failures = len(store.failure_rows(take.id)) if failed else 0
        place = indices[take.full_prompt]
        rows.append(line_of(take) | {"prompt_index": place, "state": state.state, "failures": failures})
    return {"total": len(takes), "prompts": plan.prompts, "takes": rows}


def prompt_text(prompts: list[str], prompt: str | None) -> str | None:
    """The text of a prompt, given by its text or its index in the list. Raises Missing for an unknown prompt."""
    if prompt is None or prompt in prompts:
        return prompt
    if prompt.isascii() and prompt.isdigit() and len(prompt) < 9 and int(prompt) < len(prompts):
        return prompts[int(prompt)]
    raise Missing("the sweep has no such prompt")


def line_of(take: Take) -> dict[str, Any]:
    return {
        "id": take.id,
        "backbone": take.backbone,
        "method": take.method.label,
        "seconds": take.seconds,
        "prompt": take.full_prompt,
        "seed": take.seed,
    }


def detail(index: StoreIndex, store: SweepStore, take: Take) -> dict[str, Any]:
    """The details of one take, with its record and scores."""
    done = store.is_done(take)
    result = store.result(take.id) if done else None
    scores = scores_of(store, take.id) if done else {}
    failures = [str(row.failure) for row in store.failure_rows(take.id)]
    return {
        "take": {"id": take.id, "cell": str(take.cell), **take.to_json(), "prompt": take.full_prompt},
        "texts": texts_of(take),
        "state": index.states(store, [take])[take.id].state,
        "result": None if result is None else result.to_json(),
        "fps": None if result is None else result.fps,
        "frames": None if result is None else result.num_frames,
        "width": None if result is None else result.width,
        "height": None if result is None else result.height,
        "scores": scores,
        "failures": failures,
        "has_trace": index.holds(store.trace_file(take.id)),
    }


def texts_of(take: Take) -> list[dict[str, Any]]:
    """The texts of the take's prompt, each with its first frame of the video."""
    later = [{"frame": take.first_video_frame(one.frame), "text": one.text, "cut": one.cut} for one in take.switches]
    return [{"frame": 0, "text": take.prompt, "cut": False}, *later]


def scores_of(store: SweepStore, take_id: str) -> dict[str, dict[str, Any]]:
    """Suite -> the scores of the current video."""
    by_suite = {suite: store.scores(take_id, suite) for suite in sorted(store.suites_of(take_id))}
    return {suite: scores.to_json() for suite, scores in by_suite.items() if scores is not None}


def trace(index: StoreIndex, store: SweepStore, take: Take) -> dict[str, Any]:
    """The rows of a take's trace, and the rates that convert latent frames to seconds. Raises Missing."""
    result = store.result(take.id)
    if result is None or not index.holds(store.trace_file(take.id)):
        raise Missing("the take has no trace yet")
    return {
        "fps": result.fps,
        "latent_fps": result.fps / FRAMES_PER_LATENT,
        "frames_per_latent": FRAMES_PER_LATENT,
        "decode_chunk": take.decode_chunk,
        "blocks": store.trace(take.id),
    }
