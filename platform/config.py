"""User files into typed config: strict YAML, then an OmegaConf structured config, then a dataclass.

A component's config is a dataclass beside the component; ranges belong in its __post_init__ (raise ValueError or
ConfigError). Nothing is guessed: an unknown key, a wrong type or a missing value is a ConfigError of one line that
starts with the file's name. OmegaConf never sees text that was not read by strict_yaml, so nothing is interpolated.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from longtake.platform import strict_yaml
from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean

C = TypeVar("C")

_SCALARS: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}
_NOUNS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """A file's mapping of keys, checked by strict_yaml but by no schema. Raises ConfigError."""
    path = Path(path)
    data = strict_yaml.parse(strict_yaml.read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds {_kind(data)} where a mapping of keys is expected ('key: value' lines)")
    return data


def load(path: str | Path, schema: type[C], overrides: Sequence[str] = ()) -> C:
    """The file as an instance of the dataclass `schema`, after 'a.b=value' overrides. Raises ConfigError."""
    data = load_yaml(path)
    for override in overrides:
        _apply_override(data, override, str(path))
    return build(schema, data, str(path))


def build(schema: type[C], params: Mapping[str, Any] | None, where: str) -> C:
    """`params` as an instance of the dataclass `schema`. Raises ConfigError that starts with `where`."""
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"{where}: expects a mapping of keys, not {_kind(params)}")
    data = dict(params or {})
    _check_values(data, "", where)
    _check_keys(schema, data, "", where)
    return _to_dataclass(schema, data, where)


def dump(config: Any) -> str:
    """A config dataclass as YAML text that `load` reads back to an equal one."""
    return strict_yaml.dump(dataclasses.asdict(config))


def _to_dataclass(schema: type[C], data: dict[str, Any], where: str) -> C:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        node = OmegaConf.structured(schema)
        _make_writable(node)
        config = typing.cast(C, OmegaConf.to_object(OmegaConf.merge(node, OmegaConf.create(data))))
        _check_values(dataclasses.asdict(config), "", where)  # type: ignore[call-overload]
        return config
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        message = str(getattr(error, "msg", None) or error).strip().splitlines()[0]
        if "Missing mandatory value" in message or "MISSING" in message:
            message = f"{str(key).rpartition('.')[2]!r} must be given"
        raise ConfigError(_line(where, str(key), message)) from error
    except ConfigError as error:
        raise ConfigError(_line(where, "", str(error))) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(_line(where, "", f"{error}")) from error


def _make_writable(node: Any) -> None:
    """Frozen dataclasses become read-only nodes, which could not take the file's values."""
    from omegaconf import DictConfig, OmegaConf

    if isinstance(node, DictConfig):
        OmegaConf.set_readonly(node, None)
        if not node._is_none() and not node._is_missing():
            for key in node:
                _make_writable(node._get_node(key))


def _apply_override(data: dict[str, Any], override: str, where: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(part and part.strip() == part for part in key.split(".")):
        raise ConfigError(f"{where}: the override {override!r} is not of the form key=value or a.b=value")
    value = strict_yaml.parse(text, f"{where}: override {key}")
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.get(parent)
        if inner is None:
            inner = data[parent] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{where}: override {key}: {parent!r} is {_kind(inner)}; override it as a whole")
        data = inner
    data[last] = value


def _check_values(value: Any, key: str, where: str) -> None:
    """What OmegaConf would read as something else, or cannot hold: '???', '${', NaN and infinity."""
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise ConfigError(_line(where, key, f"{value!r} is not read; write the value out"))
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(_line(where, key, f"{value} is not a finite number"))
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_values(item, _join(key, str(name)), where)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_values(item, f"{key}[{index}]", where)


def _check_keys(schema: Any, data: Any, key: str, where: str) -> None:
    """Unknown and missing keys at every depth, named with the near miss and the known ones."""
    fields = {item.name: item for item in dataclasses.fields(schema) if item.init}
    for name in data:
        if name not in fields:
            hint = did_you_mean(str(name), list(fields))
            raise ConfigError(_line(where, _join(key, str(name)), f"unknown key {str(name)!r}; {hint}"))
    hints = typing.get_type_hints(schema)
    for name, item in fields.items():
        if name not in data:
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise ConfigError(_line(where, _join(key, name), f"{name!r} must be given"))
            continue
        _check_scalar(hints[name], data[name], _join(key, name), where)
        if typing.get_origin(hints[name]) is list and not isinstance(data[name], list | tuple):
            raise ConfigError(_line(where, _join(key, name), f"expects a list, not {_kind(data[name])}"))
        for inner, value, inner_key in _dataclass_values(hints[name], data[name], _join(key, name)):
            if not isinstance(value, Mapping):
                raise ConfigError(_line(where, inner_key, f"expects a mapping of keys, not {_kind(value)}"))
            _check_keys(inner, value, inner_key, where)


def _check_scalar(hint: Any, value: Any, key: str, where: str) -> None:
    """Text is no number and a number no text, also inside lists; OmegaConf would convert them without a word."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_scalar(args[0], item, f"{key}[{index}]", where)
    plain = [kind for kind in (args if origin in (typing.Union, types.UnionType) else (hint,)) if kind in _SCALARS]
    if not plain or value is None or isinstance(value, list | tuple | Mapping):
        return
    fits = any(isinstance(value, _SCALARS[kind]) and (kind is bool) == isinstance(value, bool) for kind in plain)
    if not fits:
        expected = " or ".join(_NOUNS[kind] for kind in plain)
        raise ConfigError(_line(where, key, f"{value!r} is {_kind(value)}; expects {expected}"))


def _dataclass_values(hint: Any, value: Any, key: str) -> list[tuple[Any, Any, str]]:
    """(dataclass, value, key) for each dataclass that the hint holds: itself, optional, in a list or in a dict."""
    if dataclasses.is_dataclass(hint):
        return [(hint, value, key)]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and value is not None:
        return [found for arg in args for found in _dataclass_values(arg, value, key)]
    if origin is list and isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _dataclass_values(args[0], item, f"{key}[{i}]")]
    if origin is dict and isinstance(value, Mapping):
        return [found for k, item in value.items() for found in _dataclass_values(args[1], item, _join(key, str(k)))]
    return []


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _line(where: str, key: str, rule: str) -> str:
    text = f"{key}: {rule}" if key and not rule.startswith(f"{where}:") else rule
    return " ".join(text.split()) if text.startswith(f"{where}:") else " ".join(f"{where}: {text}".split())


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", type(None): "nothing"}
    return names.get(type(value), "a number")
