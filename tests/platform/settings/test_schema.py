"""The JSON Schema of a dataclass: keys, types, defaults, words. It refuses the files that config.build refuses."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from longtake.platform.errors import ConfigError
from longtake.platform.settings import config, strict_yaml
from longtake.platform.settings.schema import schema_of


@dataclass(frozen=True)
class Memory:
    """What is kept. `top_k`: frames to
    attend; `share`: of the host memory. No field is named here."""

    top_k: int = 6
    share: float | None = None


@dataclass(frozen=True)
class Recent(Memory):
    """The newest frames."""

    fast: bool = True


@dataclass(frozen=True)
class Study:
    """A study."""

    name: str
    lengths: list[int] = field(default_factory=lambda: [30])
    memory: Recent = field(default_factory=Recent)
    spare: Memory | None = None
    workers: int | str = "auto"
    color: Any = "red"
    pool: Literal["max", "mean", 2] | None = "max"


GIVEN = {Study: {"color": {"enum": ["red", "blue"]}}}
MEMORY = {
    "top_k": {"type": "integer", "description": "`top_k`: frames to attend", "default": 6},
    "share": {"type": ["number", "null"], "description": "`share`: of the host memory.", "default": None},
}


def test_a_schema_says_what_the_dataclass_says() -> None:
    about_memory = "What is kept. `top_k`: frames to attend; `share`: of the host memory. No field is named here."
    closed = {"type": "object", "required": [], "additionalProperties": False}
    recent = {**MEMORY, "fast": {"type": "boolean", "default": True}}
    assert schema_of(Study, GIVEN) == {
        "type": "object",
        "description": "A study.",
        "properties": {
            "name": {"type": "string"},
            "lengths": {"type": "array", "items": {"type": "integer"}, "default": [30]},
            "memory": {**closed, "description": "The newest frames.", "properties": recent},
            "spare": {
                "anyOf": [{**closed, "description": about_memory, "properties": MEMORY}, {"type": "null"}],
                "default": None,
            },
            "workers": {"type": ["integer", "string"], "default": "auto"},
            "color": {"enum": ["red", "blue"], "default": "red"},
            "pool": {"anyOf": [{"const": "max"}, {"const": "mean"}, {"const": 2}, {"type": "null"}], "default": "max"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    Draft202012Validator.check_schema(schema_of(Study, GIVEN))


def test_a_field_whose_type_says_nothing_needs_a_schema() -> None:
    with pytest.raises(TypeError, match=r"Study\.color: a field of type typing\.Any needs a schema of its own"):
        schema_of(Study, {})


GOOD = [
    "name: a",
    "{name: a, lengths: [], memory: {top_k: 1, fast: false}, spare: {share: 1}, workers: 2, color: blue}",
    "{name: a, spare: null, workers: two, pool: null}",
    "{name: a, pool: 2}",
]
BAD = [
    "{}",
    "name: null",
    "name: 12",
    "name: [a]",
    "{name: a, nme: b}",
    "{name: a, lengths: 30}",
    "{name: a, lengths: ['30']}",
    "{name: a, lengths: [1.5]}",
    "{name: a, lengths: [true]}",
    "{name: a, lengths: null}",
    "{name: a, memory: 6}",
    "{name: a, memory: null}",
    "{name: a, memory: {topk: 1}}",
    "{name: a, memory: {fast: 1}}",
    "{name: a, spare: []}",
    "{name: a, spare: {share: half}}",
    "{name: a, workers: 1.5}",
    "{name: a, workers: null}",
    "{name: a, pool: min}",
    "{name: a, pool: '2'}",
    "{name: a, pool: [max]}",
]


@pytest.mark.parametrize("text", GOOD + BAD)
def test_the_schema_and_the_reader_refuse_the_same_files(text: str) -> None:
    data = strict_yaml.parse(text, "study.yaml")
    assert Draft202012Validator(schema_of(Study, GIVEN)).is_valid(data) == (text in GOOD)
    if text in GOOD:
        config.build(Study, data, "study.yaml")
        return
    with pytest.raises(ConfigError):
        config.build(Study, data, "study.yaml")
