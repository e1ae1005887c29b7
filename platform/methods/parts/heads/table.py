"""A table that sorts heads into static and dynamic ones: a JSON file in the format of Forcing-KV's authors.

`num_layers`, `num_heads`, and `layers`: a list of {`layer_idx`, `static_head`: [heads], `dynamic_head`: [heads]}, which
names every head of every layer once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError

if TYPE_CHECKING:
    from longtake.platform.models.spec import DiTSpec

StaticHeads = Sequence[frozenset[int]]
"""Per layer, its static heads."""
FORMAT = "num_layers, num_heads and layers [{layer_idx, static_head, dynamic_head}]"


def read_table(path: str, spec: DiTSpec) -> StaticHeads:
    """The static heads of a network. Raises ConfigError if the file is of another format or another network."""
    try:
        table = json.loads(Path(path).read_bytes())
        sizes = table["num_layers"], table["num_heads"]
        kinds = {one["layer_idx"]: (one["static_head"], one["dynamic_head"]) for one in table["layers"]}
        named = {layer: sorted(static + dynamic) for layer, (static, dynamic) in kinds.items()}
    except OSError as error:
        raise ConfigError(f"table {path}: {error.strerror}; name a JSON file of heads, or set measured") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"table {path}: is not a table of heads; it must hold {FORMAT}") from error
    if sizes != (spec.layers, spec.heads):
        ours = f"the backbone's has {spec.layers} layers of {spec.heads}"
        raise ConfigError(f"table {path}: is of a network of {sizes[0]} layers of {sizes[1]} heads; {ours}")
    if named != {layer: list(range(spec.heads)) for layer in range(spec.layers)}:
        raise ConfigError(f"table {path}: must name every head of every layer once, as static or as dynamic")
    return tuple(frozenset(kinds[layer][0]) for layer in range(spec.layers))


def kinds(static: StaticHeads, spec: DiTSpec) -> Iterator[tuple[int, bool, tuple[int, ...]]]:
    """Each layer, whether these of its heads are dynamic, and the heads. Layer 0 has static heads only."""
    for layer in range(spec.layers):
        dynamic = [layer > 0 and head not in static[layer] for head in range(spec.heads)]
        for kind in sorted({*dynamic}):
            yield layer, kind, tuple(head for head, its in enumerate(dynamic) if its == kind)


def first_dynamic(static: StaticHeads, spec: DiTSpec) -> tuple[int, tuple[int, ...]] | None:
    """The first layer that has dynamic heads, and these; None if all heads are static."""
    return next(((layer, heads) for layer, dynamic, heads in kinds(static, spec) if dynamic), None)
