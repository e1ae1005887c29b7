"""Reads user files as typed config: strict YAML, then overrides, then one pass that checks and builds a dataclass.

A component's config is a dataclass beside the component. Its fields hold str, int, float, bool, FilePath, a Literal,
a dataclass, lists and unions of these, or Any; its __post_init__ checks ranges (raise ValueError or ConfigError). The
only conversions are from a whole number to a float, and of `~` and `$NAME` in a FilePath. An unknown key, a wrong type
or a missing value raises a ConfigError of one line that starts with the file's name. OmegaConf applies overrides to
values that strict_yaml has read, which contain nothing to interpolate.
"""

import dataclasses
import itertools
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import strict_yaml
from longtake.platform.settings.paths import FilePath, expanded

C = TypeVar("C")

_PATH = re.compile(r"[\w-]+(\.[\w-]+)*")
_NOUNS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
_NOUNS |= {types.NoneType: "null"}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping of keys in a file, read by strict_yaml, without a schema. Raises ConfigError."""
    path = Path(path)
    data = strict_yaml.parse(strict_yaml.read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds {_kind(data)} where a mapping of keys is expected ('key: value' lines)")
    return data


def load(path: str | Path, schema: type[C], overrides: Sequence[str] = ()) -> C:
    """The file as an instance of the dataclass `schema`, after 'a.b=value' overrides. Raises ConfigError."""
    data = load_yaml(path)
    return build(schema, _overridden(data, overrides, str(path)) if overrides else data, str(path))


def build(schema: type[C], params: Mapping[str, Any] | None, where: str) -> C:
    """`params` as an instance of the dataclass `schema`. Raises ConfigError that starts with `where`."""
    try:
        return typing.cast(C, _read(schema, {} if params is None else params, ""))
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(" ".join(f"{where}: {error}".split())) from error


def dump(config: Any) -> str:
    """A config dataclass as YAML text that `load` reads back to an equal one."""
    return strict_yaml.dump(dataclasses.asdict(config))


def options(hint: Any) -> tuple[Any, ...]:
    """The allowed types and values of a field: the members of a union, the values of a Literal, or the type itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(option for part in typing.get_args(hint) for option in options(part))
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else (hint,)


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Whether a file must set this field, because it has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _overridden(data: dict[str, Any], overrides: Sequence[str], where: str) -> dict[str, Any]:
    """`data` with the overrides applied; a number in a path is a list index. Raises ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    tree = OmegaConf.create(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not _PATH.fullmatch(key):
            raise ConfigError(f"{where}: the override {override!r} is not of the form key=value or a.b=value")
        value = strict_yaml.parse(text, f"{where}: override {key}")
        try:
            for parent in itertools.accumulate(key.split(".")[:-1], "{}.{}".format):
                inner = OmegaConf.select(tree, parent)
                if inner is not None and not OmegaConf.is_config(inner):  # update would replace it silently
                    raise ConfigError(f"{where}: override {key}: {parent!r} is {_kind(inner)}; override it as a whole")
            OmegaConf.update(tree, key, value, merge=False)
        except (OmegaConfBaseException, ValueError) as error:  # the path leads into a list
            raise ConfigError(f"{where}: override {key}: the list has no such entry; indices start at 0") from error
    return typing.cast(dict[str, Any], OmegaConf.to_container(tree))


def _read(hint: Any, value: Any, key: str) -> Any:
    """`value` as one of the types that `hint` allows. Raises ConfigError that starts with the key."""
    for option in options(hint):
        if option is Any:
            return value
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return _read_fields(option, value, key)
        if typing.get_origin(option) is list and isinstance(value, list | tuple):
            (inner,) = typing.get_args(option)
            return [_read(inner, item, f"{key}[{index}]") for index, item in enumerate(value)]
        if type(value) is type(option) and value == option:  # a value of a Literal
            return value
        if option == FilePath and isinstance(value, str):
            return _expanded(value, key)
        if type(value) is option or (option is float and type(value) is int):
            if option is float and not math.isfinite(value):
                raise _error(key, f"{value} is not a finite number")
            return float(value) if option is float else value
    raise _error(key, f"expects {' or '.join(map(_noun, options(hint)))}, got {_kind(value)}")


def _read_fields(schema: Any, data: Mapping[str, Any], key: str) -> Any:
    """An instance of the dataclass. Raises ConfigError for missing or unknown keys, with the closest name."""
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    data = _current_names(fields, data, key)
    for name in data:
        if name not in fields:
            raise _error(_join(key, name), f"unknown key {name!r}; {did_you_mean(str(name), list(fields))}")
    for name, field in fields.items():
        if name not in data and is_required(field):
            raise _error(_join(key, name), f"{name!r} must be set")
    hints = typing.get_type_hints(schema, include_extras=True)
    return schema(**{name: _read(hints[name], data[name], _join(key, name)) for name in fields if name in data})


def _current_names(fields: "dict[str, dataclasses.Field[Any]]", data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`data` with earlier names of fields (metadata `was`) replaced by the current names."""
    earlier = {field.metadata["was"]: name for name, field in fields.items() if "was" in field.metadata}
    for name in earlier.keys() & data.keys():
        if earlier[name] in data:
            raise _error(_join(key, name), f"is the earlier name of {earlier[name]!r}, which is also set; keep one")
    return {earlier.get(name, name): value for name, value in data.items()}


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)


def _error(key: str, rule: str) -> ConfigError:
    return ConfigError(f"{key}: {rule}" if key else rule)


def _expanded(path: str, key: str) -> str:
    try:
        return expanded(path)
    except ConfigError as error:
        raise _error(key, str(error)) from error


def _noun(option: Any) -> str:
    """Name of an allowed type or value, for a message. Raises TypeError for a type that files cannot contain."""
    if dataclasses.is_dataclass(option):
        return "a mapping of keys"
    if isinstance(option, str | int):
        return repr(option)
    noun = "text" if option == FilePath else _NOUNS.get(typing.get_origin(option) or option)
    if noun is None:
        raise TypeError(f"a field of type {option} cannot be read from a file")
    return noun


def _kind(value: Any) -> str:
    """Description of a value, for a message: a list, the text 'x'."""
    kinds = {types.NoneType: "nothing", bool: str(value).lower(), dict: "a mapping", list: "a list", tuple: "a list"}
    return kinds.get(type(value)) or f"the {'text' if isinstance(value, str) else 'number'} {value!r:.80}"
