"""`longtake schema KIND`: prints the JSON Schema of a kind of user-written file, for editors.

Most of the schema follows from the dataclasses of the files (platform/settings/schema.py). This module adds what types
cannot express: the registered backbones, methods and suites with their parameters, and the allowed values of a field.
"""

import json
from dataclasses import is_dataclass
from typing import Any

from longtake.evaluators.base import CHOSEN, metrics, suites
from longtake.evaluators.suites.vbench_long import DIMENSIONS, VBenchLong
from longtake.evaluators.vbench import settings as vbench
from longtake.jobs.corpus.spec import CorpusConfig
from longtake.jobs.embedder.train import EmbedderJob, GroupConfig
from longtake.jobs.sweep.spec import SweepConfig, WorkersConfig
from longtake.platform.backbones.base import backbones
from longtake.platform.backbones.pocket import pocket_names
from longtake.platform.corpus.records import DTYPES
from longtake.platform.errors import ConfigError
from longtake.platform.machine import resources
from longtake.platform.methods.base import BANK_DTYPES, methods
from longtake.platform.methods.parts.memory import MemoryConfig
from longtake.platform.registry import Registry, did_you_mean
from longtake.platform.settings.schema import FieldSchemas, Schema, schema_of
from longtake.trainers.embedder_config import PRECISIONS, EmbedderConfig
from longtake.trainers.own_context import OwnContext
from longtake.trainers.pocket import PocketConfig

FILES = {"sweep": SweepConfig, "corpus": CorpusConfig, "embedder": EmbedderJob, "pocket": PocketConfig}
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TEXT: Schema = {"type": "string"}
AUTO_OR_COUNT: Schema = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}
AUTO_OR_GPUS: Schema = {"anyOf": [{"const": "auto"}, {"type": "number", "minimum": 0}]}
AUTO_OR_SECONDS: Schema = {"anyOf": [{"const": "auto"}, {"type": "number", "minimum": 1}]}
PROMPT_FILE: Schema = {
    "type": "object",
    "properties": {"file": TEXT, "limit": {"type": ["integer", "null"], "minimum": 1}},
    "required": ["file"],
    "additionalProperties": False,
}
PART: Schema = {
    "type": "object",
    "properties": {
        "at_s": {
            "type": "number",
            "minimum": 0,
            "description": "Seconds after which the text begins; 0 for the first.",
        },
        "text": TEXT,
        "cut": {"type": "boolean", "default": False, "description": "Whether the text begins with a cut."},
    },
    "required": ["at_s", "text"],
    "additionalProperties": False,
}
PROMPT: Schema = {"anyOf": [TEXT, {"type": "array", "items": PART, "minItems": 1}]}


def show(kind: str) -> int:
    """Print the schema of a kind of file; returns 0. Raises ConfigError for an unknown kind."""
    print(json.dumps(file_schema(kind), indent=2, ensure_ascii=False))
    return 0


def file_schema(kind: str) -> Schema:
    """The schema of a sweep, corpus, embedder or pocket file. Raises ConfigError for another kind."""
    if kind not in FILES:
        raise ConfigError(f"unknown kind of file {kind!r}; {did_you_mean(kind, list(FILES))}")
    return {"$schema": DRAFT, "title": f"Longtake {kind} file", **schema_of(FILES[kind], field_schemas())}


def field_schemas() -> FieldSchemas:
    """Schemas of the fields that name registered parts or have a list of allowed values."""
    words: FieldSchemas = {
        MemoryConfig: {"bank_dtype": one_of(*BANK_DTYPES, None)},
        VBenchLong: {"dimensions": list_of(one_of(*DIMENSIONS))},
        vbench.Settings: {
            "protocol": one_of(*vbench.PROTOCOLS),
            "compat": list_of(one_of(*vbench.COMPAT, vbench.ALL)),
        },
        EmbedderConfig: {"precision": one_of(*PRECISIONS)},
        OwnContext: {"start": one_of(*pocket_names())},
        GroupConfig: {"count": AUTO_OR_COUNT, "gpus_per_worker": one_of("auto", 0, 1)},
        WorkersConfig: {
            **dict.fromkeys(("samplers", "evaluators", "batch"), AUTO_OR_COUNT),
            "gpus_per_sampler": AUTO_OR_GPUS,
            "stall_seconds": AUTO_OR_SECONDS,
            "precision": one_of(*resources.PRECISIONS, None),
        },
    }
    names, method = backbones.names(), entry_of(methods, words)
    return {
        **words,
        SweepConfig: {
            "backbones": list_of(one_of(*names)),
            "methods": list_of(method),
            "suites": list_of(entry_of(suites, words, **{CHOSEN: list_of(one_of(*metrics.names()))})),
            "prompts": {"anyOf": [list_of(PROMPT), PROMPT_FILE]},
        },
        CorpusConfig: {
            "backbone": one_of(*names, None),
            "method": method,
            "prompts": {"anyOf": [list_of(TEXT), PROMPT_FILE, {"type": "null"}]},
            "dtype": one_of(*DTYPES),
        },
    }


def entry_of(registry: Registry[Any], words: FieldSchemas, **special: Schema) -> Schema:
    """NAME, {NAME: {parameter: value}} or {NAME: {...}, as: LABEL}, for every registered name, including former names.

    `special`: names whose value is not a mapping of parameters, with the schema of that value.
    """
    names = [name for present in registry.names() for name in registry.names_of(present)]
    parameters = {name: parameters_of(registry.get(name), words) for name in names} | special
    mapping = {
        "type": "object",
        "properties": {**parameters, "as": TEXT},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in parameters],
    }
    return {"anyOf": [one_of(*parameters), mapping]}


def parameters_of(part: Any, words: FieldSchemas) -> Schema:
    """The parameters of a registered part. All have defaults, so null is allowed too."""
    if is_dataclass(part):
        return schema_of(part, words) | {"type": ["object", "null"]}
    return {"type": ["object", "null"], "maxProperties": 0}


def one_of(*words: Any) -> Schema:
    return {"enum": list(words)}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}
