"""Converts frozen records to JSON and back; this module reads every file of records in the store.

Dictionaries and lists of plain values are not checked; all other types are. In the JSON of ranks, a `Statistic` called
score becomes the keys score and score_interval, and a cell becomes its name and its three parts.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longtake.platform.takes import Cell

R = TypeVar("R")

OMIT_NONE = {"omit_none": True}
"""The metadata of a field that is written only if it has a value."""

_JSON_TYPES: dict[Any, tuple[type, ...]] = {float: (int, float), tuple: (list, tuple)}


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


def from_json(kind: type[R], data: Any, exact: bool = False) -> R:
    """Reads a record. A missing field has its default; with `exact`, `data` must have exactly the fields of the record.

    Raises ValueError that names the field if one is missing or has another type.
    """
    known = _fields(kind)  # type: ignore[arg-type]
    if not isinstance(data, dict) or (exact and data.keys() != known.keys()):
        raise ValueError(f"{kind.__name__} has the fields {', '.join(known)}; this is {str(data)[:40]!r}")
    values: dict[str, Any] = {}
    for name, (hint, is_needed) in known.items():
        if hint is Statistic:
            pair = {"value": data.get(name), "interval": data.get(f"{name}_interval")}
            values[name] = from_json(Statistic, pair)
        elif hint is Cell:
            values[name] = from_json(Cell, data)
        elif name in data:
            values[name] = _value(hint, data[name], name, exact)
        elif is_needed:
            raise ValueError(f"{kind.__name__} has no {name}")
    return kind(**values)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Name -> (type, whether it has no default)."""
    hints = get_type_hints(kind)
    return {item.name: (hints[item.name], item.default is item.default_factory is MISSING) for item in fields(kind)}


def _value(kind: Any, data: Any, name: str, exact: bool) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if data is None else _value(inner[0], data, name, exact)
    if is_dataclass(kind):
        return from_json(kind, data, exact)  # type: ignore[arg-type]
    plain = origin or kind
    if kind is not Any and (isinstance(data, bool) or not isinstance(data, _JSON_TYPES.get(plain, plain))):
        raise ValueError(f"{name} is {str(data)[:40]!r}")
    if origin is tuple:
        return tuple(_value(inner[0], element, name, exact) for element in data)
    if origin is None or not _holds_records(inner[-1]):
        return data
    if origin is dict:
        return {key: _value(inner[1], element, name, exact) for key, element in data.items()}
    return [_value(inner[0], element, name, exact) for element in data]


@cache
def _holds_records(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_holds_records, get_args(kind)))
