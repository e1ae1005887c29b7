"""User files: what is refused, in one line that names file, key and rule; what is read; what fuzzing finds."""

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.settings import config, strict_yaml


@dataclass(frozen=True)
class Retrieval:
    top_k: int = 6
    descriptor: str = "avg-pool"

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; it must be at least 1")


@dataclass(frozen=True)
class Study:
    name: str
    lengths_s: list[int] = field(default_factory=lambda: [30])
    memory: Retrieval = field(default_factory=Retrieval)
    rivals: list[Retrieval] = field(default_factory=list)
    spare: Retrieval | None = None
    methods: list[Any] = field(default_factory=list)
    scale: float = 1.0
    fast: bool = False
    workers: int | str = "auto"
    pool: Literal["max", "mean"] | None = None


@dataclass(frozen=True)
class Table:
    sizes: dict[str, int] = field(default_factory=dict)


def load(tmp_path: Path, text: str | bytes, *overrides: str) -> Study:
    path = tmp_path / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.load(path, Study, list(overrides))


def test_a_file_and_its_overrides(tmp_path: Path) -> None:
    text = "name: demo\nlengths_s: [30, 60]\nmemory: {top_k: 4}\nrivals: [{top_k: 2}]\nmethods: [a, {rag: {k: 1}}]\n"
    study = load(tmp_path, text, "memory.descriptor=embedder", "lengths_s=[120]", "workers=2", "spare.top_k=9")
    assert study == Study(
        "demo", [120], Retrieval(4, "embedder"), [Retrieval(2)], Retrieval(9), ["a", {"rag": {"k": 1}}], workers=2
    )


def test_an_override_reaches_into_a_list_and_replaces_a_mapping_as_a_whole(tmp_path: Path) -> None:
    text = "name: demo\nlengths_s: [30, 60]\nmemory: {top_k: 4, descriptor: x}\nmethods: ['???', {rag: {k: 1, l: 2}}]\n"
    study = load(tmp_path, text, "lengths_s.1=90", "methods.1.rag.k=3", "memory={top_k: 5}")
    assert study == Study("demo", [30, 90], Retrieval(5), methods=["???", {"rag": {"k": 3, "l": 2}}])


def test_a_whole_number_is_a_number_and_stays_one_in_the_dump(tmp_path: Path) -> None:
    study = load(tmp_path, "name: demo\nscale: 24\nworkers: 2")
    assert (type(study.scale), type(study.workers)) == (float, int)
    assert "scale: 24.0\n" in config.dump(study)


def test_the_resolved_config_reads_back(tmp_path: Path) -> None:
    odd = [
        "1e5",
        "010",
        "yes",
        "null",
        "a: b",
        "é\u2028",
        "1:30",
        "#x",
        "",
        " ",
        "-",
        "0.5",
        "~",
        "{",
        "???",
        "&a",
        "*b",
        "!c",
    ]
    study = Study("demo", methods=[odd, {"no": 1, "1": [None, True, 1e-7, -3]}], spare=Retrieval(3))
    assert load(tmp_path, config.dump(study)) == study


REFUSED = {
    "nme: demo": "study.yaml: nme: unknown key 'nme'; did you mean 'name'? known: name, lengths_s",
    "name: demo\nmemory: {topk: 1}": "study.yaml: memory.topk: unknown key 'topk'; did you mean 'top_k'?",
    "name: demo\nrivals: [{}, {kk: 1}]": "study.yaml: rivals[1].kk: unknown key 'kk'; known: top_k, descriptor",
    "lengths_s: [30]": "study.yaml: name: 'name' must be set",
    "name: demo\nmemory: {top_k: 0}": "study.yaml: top_k is 0; it must be at least 1",
    "name: demo\nmemory: 6": "study.yaml: memory: expects a mapping of keys, got the number 6",
    "name: demo\nlengths_s: 30": "study.yaml: lengths_s: expects a list, got the number 30",
    "name: demo\nlengths_s: [long]": "study.yaml: lengths_s[0]: expects a whole number, got the text 'long'",
    "name: demo\nlengths_s: ['30']": "study.yaml: lengths_s[0]: expects a whole number, got the text '30'",
    "name: 12": "study.yaml: name: expects text, got the number 12",
    "name: demo\nfast: maybe": "study.yaml: fast: expects true or false, got the text 'maybe'",
    "name: demo\nscale: '.nan'": "study.yaml: scale: ",
    "name: demo\nscale: 'nan'": "study.yaml: scale: expects a number, got the text 'nan'",
    "name: demo\nscale: 1e999": "study.yaml: line 2: 1e999 is too large for a number",
    "name: ???": "study.yaml: line 1: '???' is not read; write the value out",
    "name: demo\nlengths_s: [30.0]": "study.yaml: lengths_s[0]: expects a whole number, got the number 30.0",
    "name: demo\nlengths_s: [true]": "study.yaml: lengths_s[0]: expects a whole number, got true",
    "name: demo\nlengths_s:": "study.yaml: lengths_s: expects a list, got nothing",
    "name: demo\nspare: []": "study.yaml: spare: expects a mapping of keys or null, got a list",
    "name: demo\nworkers: 1.5": "study.yaml: workers: expects a whole number or text, got the number 1.5",
    "name: demo\npool: maen": "study.yaml: pool: expects 'max' or 'mean' or null, got the text 'maen'",
    "name: [demo]": "study.yaml: name: expects text, got a list",
    "name: null": "study.yaml: name: expects text, got nothing",
    "name: a\nname: b": "study.yaml: line 2: the key 'name' is given twice",
    "name: &a x": "study.yaml: line 1: anchors and aliases",
    "name: *a": "study.yaml: line 1: anchors and aliases",
    "name: !!python/object/apply:os.system [ls]": "study.yaml: line 1: the tag ",
    "name: ${oc.env:SECRET}": "study.yaml: line 1: '${' is not read",
    "name: ok\nmethods: ['${x}']": "study.yaml: line 2: '${' is not read",
    "name: demo\nlengths_s: [010]": "study.yaml: line 2: 010 has a leading zero; write 10",
    "name: demo\nfast: yes": "study.yaml: line 2: 'yes' is ambiguous; write true or false",
    "name: demo\n---\nname: other": "study.yaml: line 2: holds several documents",
    "[" * 1000: "study.yaml: line 1: is nested deeper than 30 levels",
    "name: ]": "study.yaml: line 1: is not valid YAML",
    "": "study.yaml: holds nothing where a mapping",
    "- name": "study.yaml: holds a list where a mapping",
    "name: demo\n\x00": "study.yaml: is not valid YAML",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_breaks_a_rule_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/{REFUSED[text]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fast", "the override 'fast' is not of the form key=value"),
        ("memory.=1", "is not of the form key=value"),
        ("memory.topk=1", "memory.topk: unknown key 'topk'; did you mean 'top_k'?"),
        ("fast=yes", "override fast: line 1: 'yes' is ambiguous"),
        ("name.x=1", "override name.x: 'name' is the text 'demo'; override it as a whole"),
        ("name=${HOME}", "'${' is not read"),
        ("lengths_s.1=60", "override lengths_s.1: the list has no such entry; indices start at 0"),
        ("lengths_s.x=60", "override lengths_s.x: the list has no such entry"),
        ("lengths_s.0.x=60", "override lengths_s.0.x: 'lengths_s.0' is the number 30; override it as a whole"),
        ("lengths_s[0]=60", "is not of the form key=value or a.b=value"),
    ],
)
def test_overrides_are_as_strict(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "name: demo\nlengths_s: [30]", override)
    assert str(caught.value).startswith(f"{tmp_path}/study.yaml: ")
    assert message in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        config.load_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        config.load_yaml(tmp_path)
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path, "name: é".encode("latin-1"))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load(tmp_path, "name: " + "x" * (1 << 20))
    with pytest.raises(ConfigError, match="more than 20000 values"):
        load(tmp_path, "methods: [" + "1," * 30_000 + "]")


def test_build_is_as_strict_for_a_part_of_a_file() -> None:
    assert config.build(Retrieval, None, "sweep.yaml: methods[1].rag") == Retrieval()
    with pytest.raises(ConfigError, match=r"^sweep\.yaml: methods\[1\]\.rag: topk: unknown key 'topk'"):
        config.build(Retrieval, {"topk": 3}, "sweep.yaml: methods[1].rag")
    with pytest.raises(ConfigError, match=r"^sweep\.yaml: methods\[1\]\.rag: expects a mapping"):
        config.build(Retrieval, [3], "sweep.yaml: methods[1].rag")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^part: a field of type dict\[str, int\] cannot be read from a file"):
        config.build(Table, {"sizes": {"a": 1}}, "part")


def test_words_and_numbers_mean_what_they_show() -> None:
    text = "{on: [1, -2, 1.5, 1e3, .5, true, False, null, ~, '', 1_000, 0x10, 1:30, 2024-01-01, 0, 0.0, 'no', =, <<]}"
    numbers = [1, -2, 1.5, 1000.0, 0.5]
    words = [True, False, None, None, "", "1_000", "0x10", "1:30", "2024-01-01", 0, 0.0, "no", "=", "<<"]
    assert strict_yaml.parse(text, "x") == {"on": [*numbers, *words]}


SEED = 20_240
GOOD = """name: demo
lengths_s: [30, 60]
memory: {top_k: 4, descriptor: avg-pool}
rivals:
  - top_k: 2
  - {top_k: 3, descriptor: "embedder"}
methods: [native, {rag: {top_k: 6}, as: x}]
"""
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "&a ",
    "*a",
    "!!x ",
    "${a}",
    "'",
    '"',
    "\t",
    "\n",
    "#",
    "|",
    ">",
    "? ",
    "---\n",
]
PIECES += [
    "\x00",
    "\x85",
    "\u2028",
    "\ud7ff",
    "\U0001f600",
    "010",
    "yes",
    "nan",
    "1e999",
    "9" * 30,
    "%TAG",
    "<<: ",
    "=",
    ",",
]


def test_fuzzed_files_end_in_a_study_or_in_one_line(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    read = 0
    for index in range(400):
        text = list(GOOD)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text))
            text[at : at + rng.choice([0, 0, 1, 5])] = rng.choice(PIECES) * rng.choice([1, 1, 1, 40])
        raw = "".join(text).encode()
        if index % 5 == 0:
            raw = bytes(b if rng.random() > 0.02 else rng.randrange(256) for b in raw)
        started = time.monotonic()
        try:
            load(tmp_path, raw)
            read += 1
        except ConfigError as error:
            message = str(error)
            assert message.startswith(f"{tmp_path}/study.yaml: "), (SEED, index)
            assert "\n" not in message, (SEED, index)
            assert len(message) < 1000, (SEED, index)
        assert time.monotonic() - started < 2, (SEED, index)
    assert 0 < read < 200
