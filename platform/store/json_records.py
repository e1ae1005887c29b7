"""Converts frozen records to JSON and back; this module reads every file of records in the store.

The only place that checks the shape of stored JSON: after `from_json` every value has the type of its field, also in
lists and dictionaries, and every number is finite; only a field of type Any may hold anything. In the JSON of ranks, a
`Statistic` called score becomes the keys score and score_interval, and a cell becomes its name and its three parts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longtake.platform.store.durable import read_json, read_json_lines
from longtake.platform.takes import Cell

R = TypeVar("R")

OMIT_NONE = {"omit_none": True}
"""The metadata of a field that is written only if it has a value."""

Reader = Callable[[Any, str], Any]
"""Converts a value of JSON; the second argument is the name of its field, for errors. Raises ValueError."""
MAX_FLOAT = sys.float_info.max


@dataclass(frozen=True)
class Statistic:
    """A number and its 95 % interval; None means no value, or no interval."""

    value: float | None = None
    interval: tuple[float, float] | None = None


def to_json(value: Any) -> Any:
    """Converts records, also in dictionaries and lists, to plain JSON."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if not is_dataclass(value):
        return value
    flat: dict[str, Any] = {}
    for item in fields(value):
        content = getattr(value, item.name)
        if isinstance(content, Statistic):
            flat |= {item.name: content.value, f"{item.name}_interval": content.interval}
        elif isinstance(content, Cell):
            flat |= {"cell": str(content), **asdict(content)}
        elif content is not None or "omit_none" not in item.metadata:
            flat[item.name] = to_json(content)
    return flat


def read(kind: type[R], path: Path) -> R | None:
    """The record in a file; None if the file is missing, is not JSON or has another shape. Raises StorageError."""
    data = read_json(path)
    try:
        return None if data is None else from_json(kind, data)
    except ValueError:
        return None


def read_rows(kind: type[R], path: Path) -> list[R]:
    """The records in a file of JSON lines, without lines of another shape or that are not JSON. Raises StorageError."""
    rows = []
    for data in read_json_lines(path):
        try:
            rows.append(from_json(kind, data))
        except ValueError:
            continue
    return rows


def from_json(kind: type[R], data: Any, exact: bool = False) -> R:
    """Reads a record. A missing field has its default; with `exact`, `data` must have exactly the fields of the record.

    Raises ValueError that names the field if one is missing or has another type.
    """
    known = _fields(kind, exact)  # type: ignore[arg-type]
    if not isinstance(data, dict) or (exact and data.keys() != known.keys()):
        raise ValueError(f"{kind.__name__} has the fields {', '.join(known)}; this is {_brief(data)}")
    values: dict[str, Any] = {}
    for name, (hint, read_value, is_needed) in known.items():
        if hint is Statistic:
            pair = {"value": data.get(name), "interval": data.get(f"{name}_interval")}
            values[name] = from_json(Statistic, pair)
        elif hint is Cell:
            values[name] = from_json(Cell, data)
        elif name in data:
            values[name] = read_value(data[name], name)
        elif is_needed:
            raise ValueError(f"{kind.__name__} has no {name}")
    return kind(**values)


@cache
def _fields(kind: Any, exact: bool) -> dict[str, tuple[Any, Reader, bool]]:
    """Name -> (type, reader, whether it has no default)."""
    hints = get_type_hints(kind)
    return {
        item.name: (
            hints[item.name],
            _reader(hints[item.name], exact),
            item.default is item.default_factory is MISSING,
        )
        for item in fields(kind)
    }


@cache
def _reader(kind: Any, exact: bool) -> Reader:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda data, name: data
    if origin is UnionType:
        read_value = _reader(inner[0], exact)
        return lambda data, name: None if data is None else read_value(data, name)
    if is_dataclass(kind):
        return lambda data, name: from_json(kind, data, exact)  # type: ignore[arg-type]
    if origin in (dict, Mapping):
        read_item = _reader(inner[1], exact)
        return lambda data, name: {key: read_item(item, name) for key, item in _expect(dict, data, name).items()}
    if origin in (list, tuple):
        return _sequence_reader(origin, inner, exact)
    if kind is float:
        return _number
    return lambda data, name: _expect(kind, data, name)


def _sequence_reader(origin: Any, inner: tuple[Any, ...], exact: bool) -> Reader:
    """A list, or a tuple: of one type and any length (`tuple[float, ...]`), or of a fixed length."""
    length = None if origin is list or inner[-1] is Ellipsis else len(inner)
    read_item = _reader(inner[0], exact)
    are_numbers = inner[0] in (float, float | None)

    def read_sequence(data: Any, name: str) -> Any:
        if are_numbers and length is None and isinstance(data, list) and are_finite(data):
            return origin(data)
        if not isinstance(data, list | tuple) or length not in (None, len(data)):
            raise ValueError(f"{name} is {_brief(data)}")
        return origin(read_item(item, name) for item in data)

    return read_sequence


def are_finite(values: list[Any]) -> bool:
    """Whether all values are finite floats: the usual list of scores, which this decides without a call for each."""
    return set(map(type, values)) <= {float} and all(map(math.isfinite, values))


def _expect(kind: Any, data: Any, name: str) -> Any:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise ValueError(f"{name} is {_brief(data)}")
    return data


def _number(data: Any, name: str) -> Any:
    if type(data) not in (int, float) or not -MAX_FLOAT <= data <= MAX_FLOAT:  # false for NaN
        raise ValueError(f"{name} is {_brief(data)}")
    return data


def _brief(data: Any) -> str:
    return repr(str(data)[:40]) if not isinstance(data, int) else "a number"
