"""The JSON Schema (draft 2020-12) of a config dataclass, for editors to complete and check a user's file.

Takes keys, types, defaults, required keys and their descriptions from the dataclass and its docstring. The caller
passes what types do not define, such as registered names. A schema has no ranges and no rules between keys.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from longtake.platform.settings.config import is_required, options

Schema = dict[str, Any]
FieldSchemas = Mapping[type, Mapping[str, Schema]]
"""Dataclass -> field -> its schema, which replaces the schema of its type."""

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def schema_of(config: Any, overrides: FieldSchemas) -> Schema:
    """The schema of a mapping that config.build reads as the dataclass `config`.

    Raises TypeError for a field that is not in `overrides` and whose type no file can contain, such as Any.
    """
    hints = typing.get_type_hints(config)
    fields = [field for field in dataclasses.fields(config) if field.init]
    return {
        "type": "object",
        "description": " ".join((config.__doc__ or "").split()),
        "properties": {field.name: _field_schema(config, field, hints[field.name], overrides) for field in fields}
        | {
            field.metadata["was"]: _type_schema(hints[field.name], field.name, overrides) | {"deprecated": True}
            for field in fields
            if "was" in field.metadata
        },
        "required": [field.name for field in fields if is_required(field)],
        "additionalProperties": False,
    }


def _field_schema(config: type, field: "dataclasses.Field[Any]", hint: Any, overrides: FieldSchemas) -> Schema:
    owner = next(base for base in config.__mro__ if field.name in inspect.get_annotations(base))
    schema = overrides.get(owner, {}).get(field.name) or _type_schema(hint, f"{owner.__name__}.{field.name}", overrides)
    return schema | _description(owner, field.name) | _default(field)


def _description(owner: type, name: str) -> Schema:
    """The sentences of the class docstring that name the field."""
    sentences = re.split(r"(?<=\.)\s+|;\s+(?=`)", " ".join((owner.__doc__ or "").split()))
    about = [sentence for sentence in sentences if f"`{name}`" in sentence]
    return {"description": " ".join(about)} if about else {}


def _default(field: "dataclasses.Field[Any]") -> Schema:
    """The default, if there is one; the fields of a nested dataclass have their own."""
    if is_required(field):
        return {}
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return {} if dataclasses.is_dataclass(default) else {"default": default}


def _type_schema(hint: Any, where: str, overrides: FieldSchemas) -> Schema:
    parts = [_option_schema(option, where, overrides) for option in options(hint)]
    if len(parts) == 1:
        return parts[0]
    plain = all(part.keys() == {"type"} for part in parts)
    return {"type": [part["type"] for part in parts]} if plain else {"anyOf": parts}


def _option_schema(option: Any, where: str, overrides: FieldSchemas) -> Schema:
    if dataclasses.is_dataclass(option):
        return schema_of(option, overrides)
    if typing.get_origin(option) is list:
        return {"type": "array", "items": _type_schema(typing.get_args(option)[0], where, overrides)}
    if isinstance(option, str | int):  # a value of a Literal
        return {"const": option}
    if option not in _TYPES:
        raise TypeError(f"{where}: a field of type {option} needs a schema of its own")
    return {"type": _TYPES[option]}
