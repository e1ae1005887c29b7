"""Names and shapes of the published weights of every network.

Owns published.json: artefact -> {tensor: shape}, written from the official modules by tests/parity/networks.py. A key
`<artefact>/<form>` is another form of the same weights with other names. Needs no model library, so that a download can
be checked before any network is built.
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
    shapes_by_form = json.loads(FILE.read_text(encoding="utf-8"))
    return {key: {name: tuple(shape) for name, shape in shapes.items()} for key, shapes in shapes_by_form.items()}


def published_shapes(artefact: str) -> Shapes:
    """Tensor name -> shape of an artefact's metric.safetensors. Raises WeightsError for an unknown artefact."""
    if artefact not in forms():
        raise WeightsError(f"{artefact!r} has no weights of a metric; {did_you_mean(artefact, sorted(forms()))}")
    return dict(forms()[artefact])


def check_published(artefact: str, shapes: Mapping[str, Iterable[int]], origin: str) -> None:
    """Raises WeightsError, starting with `origin`, unless names and shapes are those of a published form."""
    actual = {name: tuple(shape) for name, shape in shapes.items()}
    other_forms = [form for key, form in forms().items() if key.startswith(f"{artefact}/")]
    expected = published_shapes(artefact)
    if actual in (expected, *other_forms):
        return
    raise WeightsError(
        f"{origin}: {differences(actual, expected)}; get the published file: longtake weights pull {artefact}"
    )


def differences(actual: Shapes, expected: Shapes) -> str:
    """Missing tensors, unexpected tensors and tensors of the wrong shape, a few of each by name."""
    by_kind = {
        "missing": sorted(expected.keys() - actual.keys()),
        "unexpected": sorted(actual.keys() - expected.keys()),
        "wrong shape for": [
            f"{name} {list(actual[name])}, not {list(expected[name])}"
            for name in sorted(expected.keys() & actual.keys())
            if actual[name] != expected[name]
        ],
    }
    return "; ".join(f"{kind} {few(names)}" for kind, names in by_kind.items() if names)


def few(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
