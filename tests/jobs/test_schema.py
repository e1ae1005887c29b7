"""`longtake schema`: every shipped file fits the schema of its kind, and what a command refuses by key, name or type
does not fit either."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from longtake.jobs.cli import execute
from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.embedder.train import EmbedderJob
from longtake.jobs.schema import FILES, file_schema
from longtake.jobs.sweep.grid import expand
from longtake.platform.errors import ConfigError
from longtake.platform.settings import config, strict_yaml
from longtake.trainers.pocket import PocketConfig

JOBS = Path(__file__).resolve().parents[2] / "jobs"
LOAD: dict[str, Callable[[Path], Any]] = {
    "sweep": expand,
    "corpus": corpus_spec.expand,
    "embedder": lambda path: config.load(path, EmbedderJob),
    "pocket": lambda path: config.load(path, PocketConfig),
}
SHIPPED = [
    *(("sweep", path) for path in sorted(JOBS.glob("sweeps/*.yaml"))),
    *(("corpus", path) for path in sorted(JOBS.glob("corpora/*.yaml"))),
    *(("embedder" if "embedder" in path.stem else "pocket", path) for path in sorted(JOBS.glob("training/*.yaml"))),
]
BASE: dict[str, dict[str, Any]] = {
    "sweep": {
        "name": "small",
        "backbones": ["pocket"],
        "methods": ["native"],
        "lengths_s": [3],
        "prompts": ["dusk, brick; pan right 3 s"],
    },
    "corpus": {"name": "small", "backbone": "pocket", "seconds": 3, "prompts": ["dusk, brick; pan right 3 s"]},
    "embedder": {"name": "small", "corpus": "pocket"},
    "pocket": {"name": "small"},
}


@cache
def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(file_schema(kind))


def written(tmp_path: Path, kind: str, change: str) -> Path:
    """A small file of the kind, with the keys of `change` instead."""
    path = tmp_path / "file.yaml"
    path.write_text(strict_yaml.dump({**BASE[kind], **strict_yaml.parse(change, "change")}))
    return path


@pytest.mark.parametrize("kind", FILES)
def test_a_schema_is_one(kind: str) -> None:
    Draft202012Validator.check_schema(file_schema(kind))


def test_every_shipped_file_has_a_kind() -> None:
    assert {kind for kind, _ in SHIPPED} == set(FILES)


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=lambda value: getattr(value, "stem", value))
def test_a_shipped_file_fits_as_written_and_with_every_default_written_out(kind: str, path: Path) -> None:
    validator(kind).validate(config.load_yaml(path))
    resolved = config.load(path, FILES[kind])
    validator(kind).validate(strict_yaml.parse(config.dump(resolved), "resolved"))


GOOD = [
    ("sweep", "methods: [native, rag, {rag: {top_k: 4, bank_dtype: fp8}, as: rag-k4}, {native-relative: }]"),
    ("sweep", "prompts: {file: prompts/pocket.txt, limit: 2}"),
    ("sweep", "prompts: {file: prompts/pocket.txt, limit: null}"),
    (
        "sweep",
        "prompts: [[{at_s: 0, text: 'dusk, brick; pan right 3 s'}, {at_s: 1.5, text: 'noon, brick; pan left 3 s'}]]",
    ),
    ("sweep", "prompts: [[{at_s: 0, text: 'dusk, brick; pan right 3 s', cut: false}]]"),
    ("sweep", "workers: {samplers: 2, gpus_per_sampler: 0, precision: null, bank: {host_gib: 1, disk: null}}"),
    ("sweep", "workers: {stall_seconds: 2.5, drain_seconds: 0}"),
    ("sweep", "workers: {stall_seconds: auto, drain_seconds: 25}"),
    ("sweep", "suites: [pocket, {weightless: {}, as: twice}]"),
    ("sweep", "suites: [classical, {metrics: [scene_cuts, chroma_noise], as: mine}]"),
    ("sweep", "tracking: {uri: disabled}"),
    ("corpus", "{method: {rag: {top_k: 2}}, dtype: float32, latents: null}"),
    ("embedder", "{precision: bf16, zero_stage: 1, workers: {count: 2, gpus_per_worker: 0}, register: {name: null}}"),
    ("pocket", "{memory: true, lr: 1}"),
]
BAD = [
    ("sweep", "nme: x"),
    ("sweep", "name: 3"),
    ("sweep", "backbones: pocket"),
    ("sweep", "backbones: [pockt]"),
    ("sweep", "methods: [ragg]"),
    ("sweep", "methods: [{rag: {topk: 4}}]"),
    ("sweep", "methods: [{rag: {top_k: '4'}}]"),
    ("sweep", "methods: [{rag: {bank_dtype: int8}}]"),
    ("sweep", "methods: [{rag: [4]}]"),
    ("sweep", "methods: [{native: {top_k: 4}}]"),
    ("sweep", "methods: [{rag: {}, native: {}}]"),
    ("sweep", "methods: [{rag: {}, as: 3}]"),
    ("sweep", "methods: [{as: rag}]"),
    ("sweep", "lengths_s: [thirty]"),
    ("sweep", "lengths_s: 30"),
    ("sweep", "seeds: [0.5]"),
    ("sweep", "suites: [weightles]"),
    ("sweep", "suites: [{pocket: {protocol: exact}}]"),
    ("sweep", "suites: [{vbench-long: {protocol: exactly}}]"),
    ("sweep", "suites: [{vbench-long: {dimensions: [beauty]}}]"),
    ("sweep", "suites: [{vbench-long: {compat: everything}}]"),
    ("sweep", "suites: [{vbench-long: {compat: [every]}}]"),
    ("sweep", "prompts: a street"),
    ("sweep", "prompts: [1]"),
    ("sweep", "prompts: [[]]"),
    ("sweep", "prompts: [[{text: 'dusk, brick; pan right 3 s'}]]"),
    ("sweep", "prompts: [[{at_s: 0, txt: 'dusk, brick; pan right 3 s'}]]"),
    ("sweep", "prompts: [[{at_s: 0, text: 'dusk, brick; pan right 3 s', cut: 1}]]"),
    ("sweep", "prompts: [[{at_s: -1, text: 'dusk, brick; pan right 3 s'}]]"),
    ("sweep", "prompts: {fil: none.txt}"),
    ("sweep", "prompts: {limit: 2}"),
    ("sweep", "prompts: {file: prompts/pocket.txt, limit: 0}"),
    ("sweep", "start_s: soon"),
    ("sweep", "output: null"),
    ("sweep", "tracking: {url: x}"),
    ("sweep", "workers: {sampler: 2}"),
    ("sweep", "workers: {samplers: 0}"),
    ("sweep", "workers: {stall_seconds: 0}"),
    ("sweep", "workers: {stall_seconds: never}"),
    ("sweep", "workers: {drain_seconds: soon}"),
    ("sweep", "workers: {evaluators: many}"),
    ("sweep", "workers: {batch: 1.5}"),
    ("sweep", "workers: {gpus_per_sampler: -1}"),
    ("sweep", "workers: {precision: fp4}"),
    ("sweep", "workers: {compile: 1}"),
    ("sweep", "workers: {bank: {host: 1}}"),
    ("sweep", "workers: {bank: 1}"),
    ("corpus", "backbone: pockt"),
    ("corpus", "method: [native]"),
    ("corpus", "method: ragg"),
    ("corpus", "dtype: int8"),
    ("corpus", "seconds: '3'"),
    ("corpus", "prompts: {file: 3}"),
    (
        "corpus",
        "prompts: [[{at_s: 0, text: 'dusk, brick; pan right 3 s'}, {at_s: 1.5, text: 'dusk, stone; pan left 3 s'}]]",
    ),
    ("embedder", "corpus: null"),
    ("embedder", "model: {hidden_dims: 64}"),
    ("embedder", "loss: {window: 1.5}"),
    ("embedder", "precision: fp64"),
    ("embedder", "workers: {count: 0}"),
    ("embedder", "workers: {gpus_per_worker: 2}"),
    ("embedder", "register: best"),
    ("pocket", "memory: 1"),
    ("pocket", "stepps: 1"),
    ("pocket", "steps: many"),
]


@pytest.mark.parametrize(("kind", "change"), GOOD)
def test_what_a_command_reads_fits(tmp_path: Path, kind: str, change: str) -> None:
    path = written(tmp_path, kind, change)
    validator(kind).validate(config.load_yaml(path))
    LOAD[kind](path)


@pytest.mark.parametrize(("kind", "change"), BAD)
def test_what_a_command_refuses_does_not_fit(tmp_path: Path, kind: str, change: str) -> None:
    path = written(tmp_path, kind, change)
    assert not validator(kind).is_valid(config.load_yaml(path))
    with pytest.raises(ConfigError):
        LOAD[kind](path)


def test_a_field_is_described_by_the_sentence_that_names_it() -> None:
    methods = file_schema("sweep")["properties"]["methods"]["items"]["anyOf"][1]["properties"]
    assert methods["rag"]["properties"]["top_k"]["default"] == 6
    assert "frames of the past" in methods["rag"]["properties"]["top_k"]["description"]


def test_the_command_prints_json_and_names_a_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["schema", "corpus"]) == 0
    assert json.loads(capsys.readouterr().out) == file_schema("corpus")
    assert execute(["schema", "sweeps"]) == 2
    assert "unknown kind of file 'sweeps'; did you mean 'sweep'?" in capsys.readouterr().err
