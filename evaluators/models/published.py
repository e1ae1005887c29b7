"""What the published weights of every network are called and how they are shaped.

Owns published.json: artefact -> {tensor: shape}, written from the official modules by tests/parity/networks.py. A key
`<artefact>/<form>` is another form of the same weights, with other names. Needs no library, so that a download can be
checked before any network can be built.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from longtake.platform.errors import WeightsError
from longtake.platform.registry import did_you_mean

Shapes = dict[str, tuple[int, ...]]
FILE = Path(__file__).with_name("published.json")
LISTED = 3


@cache
def forms() -> dict[str, Shapes]:
    """Artefact, or <artefact>/<form> -> {tensor: shape}."""
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return {key: {name: tuple(shape) for name, shape in one.items()} for key, one in told.items()}


def published_shapes(artefact: str) -> Shapes:
    """Tensor name -> shape of an artefact's metric.safetensors. Raises WeightsError for an unknown artefact."""
    if artefact not in forms():
        raise WeightsError(f"{artefact!r} holds no weights of a metric; {did_you_mean(artefact, sorted(forms()))}")
    return dict(forms()[artefact])


def check_published(artefact: str, shapes: Mapping[str, Iterable[int]], origin: str) -> None:
    """WeightsError, in one line that begins with `origin`, unless names and shapes are one published form's."""
    have = {name: tuple(shape) for name, shape in shapes.items()}
    other = [one for key, one in forms().items() if key.startswith(f"{artefact}/")]
    want = published_shapes(artefact)
    if have in (want, *other):
        return
    raise WeightsError(
        f"{origin}: {differences(have, want)}; take the published file: longtake weights pull {artefact}"
    )


def differences(have: Shapes, want: Shapes) -> str:
    """What is missing, what is not known and what has another shape, a few of each by name."""
    found = {
        "lacks": sorted(want.keys() - have.keys()),
        "has the unknown": sorted(have.keys() - want.keys()),
        "has another shape for": [
            f"{name} {list(have[name])}, not {list(want[name])}"
            for name in sorted(want.keys() & have.keys())
            if have[name] != want[name]
        ],
    }
    return "; ".join(f"{what} {few(names)}" for what, names in found.items() if names)


def few(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
