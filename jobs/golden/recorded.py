"""Recorded settings -> the method with its parameters.

Cases of LongLive-RAG name no method: they say `use_latentmem`. The others name it, and its parameters in the words of
the authors' code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtake.jobs.golden.given import given
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import MethodConfig, methods
from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import config as settings

WINDOW = {"local_attn_size": "window", "sink_size": "sink"}
PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "deep-forcing": WINDOW
    | {"budget": "keep_frames", "recent": "recent", "topc_max_reuse": "reuse", "relocate_topc": "contiguous"},
    "dummy-forcing": {"ar_start": "ar_start", "local_context_blocks": "local_blocks", "num_dummy": "num_dummy"},
    "ema-sink": WINDOW | {"alpha": "alpha"},
    "fademem": WINDOW | {"slots": "slots", "warp_beta": "warp_beta", "span_gamma": "span_gamma"},
    "forcing-kv": {
        "ar_start": "ar_start",
        "dynamic_frames": "dynamic_frames",
        "patches_per_frame": "runs",
        "sink_size": "sink",
    },
    "infinity-rope": WINDOW | {"rope_cut_from": "cut_to", "flush_keep_recent": "keep"},
    "memrope": WINDOW | {"alpha_long": "alpha_long", "alpha_short": "alpha_short", "adaptive": "adaptive"},
    "native": WINDOW,
    "rolling-sink": {"local_attn_size": "window"},
    "tethercache": WINDOW
    | {"recent_size": "recent", "alpha": "alpha", "tau": "tau", "score_temperature": "temperature"},
    "triattention": WINDOW
    | {"budget_frames": "budget_frames", "keep_last_frames": "keep_last", "offset_max_frames": "furthest"},
}
"""Recorded key -> our parameter, by method. What a case does not record keeps its default."""
ENGINE = {
    *("method", "num_frame_per_block", "local_attn_size", "sink_size", "context_noise"),
    *("denoising_step_list", "timestep_shift", "warp_denoising_step"),
}
"""Recorded keys that set up the engine (`longtake.jobs.verify`)."""
LONGLIVE_RAG = {"use_latentmem", "memory_size", "recent_exclude", "compression_method", "ae_weights"}
"""Recorded keys of cases that name no method."""
OTHERS: Mapping[str, set[str]] = {
    "forcing-kv": {"static_heads"},  # read by longtake.jobs.golden.given
    "native": {"global_sink"},  # read with prompt_switch
    "tethercache": {"memory_size"},  # window - sink - recent
}
"""Recorded keys that are read elsewhere, or follow from others."""
FIXED: Mapping[str, Mapping[str, Any]] = {
    "forcing-kv": {"spatial_frames": 1, "temporal_frames": 1, "retention_ratio": 0.33},
    "native": {"prompt_switch": "kv-recache"},
    "triattention": {"compress_every_n_frames": 3, "pruning_mode": "layer_perhead"},
}
"""Recorded keys without a parameter of ours, and the one value that our method has."""
PUBLISHED = ("rag",)
"""Methods of cases that name none."""
CODE: Mapping[str, Mapping[str, Any]] = {
    "infinity-rope": {"late_query": True},
    "memrope": {"from_zero": False},
    "triattention": {"slot_places": True},
}
"""What the authors' code does where it differs from the default."""


def check_keys(path: Path, recorded: Mapping[str, Any]) -> None:
    """Raise ConfigError for a recorded key that nothing reads, or for a value that our method cannot have."""
    name = recorded.get("method")
    fixed: Mapping[str, Any] = FIXED.get(name, {}) if name else {}
    own = {*parameters(name), *OTHERS.get(name, ()), *fixed} if name else LONGLIVE_RAG
    label = name or "a case that names no method"
    for key, value in recorded.items():
        if key not in own | ENGINE:
            known = did_you_mean(key, sorted(own | ENGINE))
            raise ConfigError(f"{path}: config.{key}: no such setting of {label}; {known}")
        if key in fixed and value != fixed[key]:
            raise ConfigError(
                f"{path}: config.{key} = {value!r}: must be {fixed[key]!r}, the one value that our {name} has"
            )


def parameters(name: str) -> Mapping[str, str]:
    """Recorded key -> our parameter. Raises ConfigError for a method that no parameters are known of."""
    if name not in PARAMETERS:
        raise ConfigError(f"method {name!r}: must be one of {', '.join(PARAMETERS)}")
    return PARAMETERS[name]


def method_of(folder: Path, facts: Mapping[str, Any]) -> MethodConfig:
    """The method of a case in `folder`. Raises ConfigError for one that no parameters are known of."""
    recorded = facts["config"]
    if "method" not in recorded:
        return published(folder, recorded)
    name = recorded["method"]
    params = {ours: recorded[theirs] for theirs, ours in parameters(name).items() if theirs in recorded}
    if recorded.get("prompt_switch") == "kv-recache":
        params["recache"] = "keep-sink" if recorded["global_sink"] else "new-sink"
    if name == "triattention":
        params["statistics"] = str(folder / f"{facts['case']}.safetensors")
    config = settings.build(methods.get(name), {**CODE.get(name, {}), **params}, f"method {name}")
    return given(config, facts)


def published(folder: Path, recorded: Mapping[str, Any]) -> MethodConfig:
    """LongLive-RAG's two: the window alone, or retrieval."""
    if not recorded["use_latentmem"]:
        return Native()
    return Rag(recorded["memory_size"], recorded["recent_exclude"], descriptor=descriptor_of(folder, recorded))


def descriptor_of(folder: Path, recorded: Mapping[str, Any]) -> str:
    """`avg-pool`, or the file of the autoencoder; ConfigError for any other kind."""
    kind, weights = recorded.get("compression_method"), recorded.get("ae_weights")
    if kind == "avg_pool" or (recorded["memory_size"] == 0 and not weights):
        return "avg-pool"
    if kind == "ae" and weights:
        return str(folder / weights)
    raise ConfigError(f"compression_method {kind!r} with ae_weights {weights!r}: must be avg_pool, or ae with a file")
