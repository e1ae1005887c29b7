"""Frozen records as JSON, and back: every file of the store that holds records is read here.

A dictionary or list of plain values is taken as it is; of everything else the types are checked. In the JSON of ranks a
`Statistic` called score is the keys score and score_interval, and a cell is its name and its three parts.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longtake.platform.takes import Cell

R = TypeVar("R")

OMIT_NONE = {"omit_none": True}
"""The metadata of a field that is written only where it has a value."""

_JSON_TYPES: dict[Any, tuple[type, ...]] = {float: (int, float), tuple: (list, tuple)}


@dataclass(frozen=True)
class Statistic:
    """A number and its 95 % interval; None is 'no value', or 'no interval'."""

    value: float | None = None
    interval: tuple[float, float] | None = None


def to_json(value: Any) -> Any:
    """Records in dictionaries and lists as plain JSON."""
    if isinstance(value, dict):
        return {key: to_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [to_json(one) for one in value]
    if not is_dataclass(value):
        return value
    flat: dict[str, Any] = {}
    for item in fields(value):
        one = getattr(value, item.name)
        if isinstance(one, Statistic):
            flat |= {item.name: one.value, f"{item.name}_interval": one.interval}
        elif isinstance(one, Cell):
            flat |= {"cell": str(one), **asdict(one)}
        elif one is not None or "omit_none" not in item.metadata:
            flat[item.name] = to_json(one)
    return flat


def from_json(kind: type[R], data: Any, exact: bool = False) -> R:
    """The record. A missing field has its default; with `exact`, all fields and no others have to be there.

    Raises ValueError, which names the field, where one is missing or of another type.
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
    return {one.name: (hints[one.name], one.default is one.default_factory is MISSING) for one in fields(kind)}


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
        return tuple(_value(inner[0], one, name, exact) for one in data)
    if origin is None or not _holds_records(inner[-1]):
        return data
    if origin is dict:
        return {key: _value(inner[1], one, name, exact) for key, one in data.items()}
    return [_value(inner[0], one, name, exact) for one in data]


@cache
def _holds_records(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_holds_records, get_args(kind)))
