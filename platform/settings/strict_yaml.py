"""Reads the subset of YAML that Longtake's files may use.

Converts text to plain values. Refused with file, line and rule: more than 1 MiB or 20,000 values, other encodings than
UTF-8, anchors, aliases, tags, several documents, depth over 30, duplicate keys, `${`, and the words and numbers that
YAML 1.1 converts to other values (yes, 010), or that mean "missing" in OmegaConf (???), and null characters. Knows no
schema.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from longtake.platform.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 30
MAX_VALUES = 20_000
MAX_INT_DIGITS = 18

UNICODE_BREAKS = "\x85\u2028\u2029"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_SURPRISES = {"yes", "no", "on", "off", "y", "n"}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")


def read_text(path: Path) -> str:
    """The text of a user's file of limited size. Raises ConfigError."""
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; use the path of a file")
        if not path.exists():
            raise ConfigError(f"{path}: no such file; check the path")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path!s}: cannot be read ({error})") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than 1 MiB; a config file is at most 1 MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def parse(text: str, where: str) -> Any:
    """One YAML document as dicts, lists and plain scalars. Raises ConfigError that starts with `where`."""
    return _Reader(text, where).document()


def plain_scalar(text: str) -> Any:
    """The value of an unquoted word. Raises ValueError with the rule for a word that YAML 1.1 would change."""
    if text in _WORDS or text.lower() in ("null", "true", "false"):
        return _WORDS[text.lower()]
    if text.lower() in _SURPRISES:
        raise ValueError(f"{text!r} is ambiguous; write true or false, or quote it as text")
    if text == "???":
        raise ValueError("'???' is not read; write the value out, or quote it as text")
    if _INT.match(text):
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0":
            raise ValueError(f"{text} has a leading zero; write {digits.lstrip('0') or 0}, or quote it as text")
        if len(digits) > MAX_INT_DIGITS:
            raise ValueError(f"a number of {len(digits)} digits; at most {MAX_INT_DIGITS} are read")
        return int(text)
    if _FLOAT.match(text):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:40]} is too large for a number")
        return value
    if text.lower().lstrip("+-") in (".nan", ".inf", "nan", "inf", "infinity"):
        raise ValueError(f"{text!r} is not a finite number; quote it if it is text")
    return text


def dump(value: Any) -> str:
    """YAML text that `parse` reads back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _as_text(text: str) -> dict[int, int]:
    """Private characters that `text` does not have, in place of its Unicode line breaks; empty without line breaks.

    PyYAML reads YAML 1.1, in which these characters end a line: a copied prompt would become two, or another key.
    In YAML 1.2 they are text.
    """
    present = [ord(char) for char in UNICODE_BREAKS if char in text]
    unused = (code for code in range(0xE000, 0xF900) if chr(code) not in text)
    return dict(zip(present, unused, strict=False))


class _Reader:
    """Builds values from the parser's events, so that everything is checked before it is expanded or constructed."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.num_values = 0
        stand_ins = _as_text(text)
        self.breaks = {stand_in: char for char, stand_in in stand_ins.items()}
        self.events = self._events(text.translate(stand_ins))

    def _events(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.error(f"is not valid YAML: {str(error.problem or error.context)[:200]}", mark) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.error(f"is not valid YAML: {' '.join(str(error).split())[:200]}") from error

    def error(self, rule: str, mark: Any = None) -> ConfigError:
        line = f" line {mark.line + 1}:" if mark is not None else ""
        return ConfigError(" ".join(f"{self.where}:{line} {rule}".split()))

    def document(self) -> Any:
        value: Any = None
        seen = False
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise self.error("holds several documents; keep one and drop the '---'", event.start_mark)
                value, seen = self.value(next(self.events), 1), True
        return value

    def check(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self.error("anchors and aliases (& and *) are not read; write the value out", event.start_mark)
        if event.tag is not None and event.tag != "!":
            raise self.error(f"the tag {event.tag[:60]!r} is not read; remove it", event.start_mark)
        if "${" in getattr(event, "value", ""):
            raise self.error("'${' is not read; values are used literally, so write the value out", event.start_mark)

    def value(self, event: Any, depth: int) -> Any:
        self.check(event)
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            raise self.error(f"holds more than {MAX_VALUES} values; put long lists of prompts into a prompt file")
        if depth > MAX_DEPTH:
            raise self.error(f"is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        return self.mapping(depth) if isinstance(event, yaml.MappingStartEvent) else self.sequence(depth)

    def key(self, event: Any) -> str:
        """Keys are always text: `on:` and `1:` mean what they show."""
        self.check(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error("a key is a list or a mapping; write it as text", event.start_mark)
        return str(event.value).translate(self.breaks)

    def scalar(self, event: Any) -> Any:
        if "\0" in event.value:
            raise self.error("a null character is not read, because no path may hold one; remove it", event.start_mark)
        text = event.value.translate(self.breaks)
        if not event.implicit[0]:
            return text
        try:
            return plain_scalar(text)
        except ValueError as error:
            raise self.error(str(error), event.start_mark) from error

    def sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, depth + 1))
        return items

    def mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event)
            if key in items:
                raise self.error(f"the key {key[:60]!r} is given twice; keep one", event.start_mark)
            items[key] = self.value(next(self.events), depth + 1)
        return items


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    try:
        quote = plain_scalar(text) != text
    except ValueError:
        quote = True
    quote = quote or any(char in text for char in UNICODE_BREAKS)  # written as escapes
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quote else None)


_Dumper.add_representer(str, _represent_text)
