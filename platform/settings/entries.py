"""Entries of a list in a user's file: a registered name with parameters and an optional label."""

from __future__ import annotations

from typing import Any

from longtake.platform.errors import ConfigError
from longtake.platform.names import check_name

Named = tuple[str, str, dict[str, Any]]
"""A registered name, its label, and its parameters as written."""


def read_entries(key: str, entries: list[Any], noun: str) -> list[Named]:
    """Read entries with unique labels. Raises ConfigError."""
    named = [read_entry(f"{key}[{i}]", entry, noun) for i, entry in enumerate(entries)]
    labels = [label for _, label, _ in named]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{key}: {label!r} occurs twice; label one entry: {{{label}: {{...}}, as: NAME}}")
    return named


def read_entry(key: str, entry: Any, noun: str) -> Named:
    """Read `native`, `{rag: {top_k: 4}}` or `{rag: {top_k: 4}, as: rag-k4}`. Raises ConfigError."""
    if isinstance(entry, str):
        return entry, entry, {}
    form = "write NAME, {NAME: {parameter: value}} or {NAME: {...}, as: LABEL}"
    names = [name for name in entry if name != "as"] if isinstance(entry, dict) else []
    if len(names) != 1 or not isinstance(names[0], str):
        raise ConfigError(f"{key}: {entry!r} is not one {noun}; {form}")
    name, params, label = names[0], entry[names[0]], entry.get("as", names[0])
    if not isinstance(params, dict | None):
        raise ConfigError(f"{key}.{name}: {params!r} is not a mapping of parameters; {form}")
    if not isinstance(label, str):
        raise ConfigError(f"{key}.as: {label!r} is not a text; {form}")
    check_name(f"{key}.as", label)
    return name, label, dict(params or {})
