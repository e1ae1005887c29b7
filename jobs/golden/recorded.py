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
from longtake.platform.methods.tethercache import TetherCache
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import config as settings

WINDOW = {"local_attn_size": "window", "sink_size": "sink"}
RELAX = {
    **{"local_attn_size": "cached", "kv_cache_size": "cached", "sink_size": "sink"},
    **{"sink_frames": "sink", "hist_frames": "history", "tail_frames": "tail", "num_hist_candidates": "candidates"},
    **{"lambda_redundancy": "redundancy", "contiguous_rope": "contiguous_rope"},
}
"""What `sink_frames` says counts, if both it and `sink_size` are recorded."""
UNRECORDED = {"relax", "relax-forcing"}
"""Methods whose cases could be read, but of which none is recorded."""
NAMES = {"relax": "relax-forcing"}
"""Recorded names of methods that have another one here."""
PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "deep-forcing": WINDOW
    | {"budget": "keep_frames", "recent": "recent", "topc_max_reuse": "reuse", "relocate_topc": "contiguous"},
    "dummy-forcing": WINDOW
    | {"ar_start": "ar_start", "local_context_blocks": "local_blocks", "num_dummy": "num_dummy"},
    "ema-sink": WINDOW | {"alpha": "alpha"},
    "fademem": WINDOW | {"slots": "slots", "warp_beta": "warp_beta", "span_gamma": "span_gamma"},
    "forcing-kv": {
        **{"ar_start": "ar_start", "dynamic_frames": "dynamic_frames", "patches_per_frame": "runs"},
        **{"sink_size": "sink", "spatial_frames": "spatial_frames", "temporal_frames": "temporal_frames"},
    },
    "infinity-rope": WINDOW | {"rope_cut_from": "cut_to", "flush_keep_recent": "keep"},
    "memrope": WINDOW | {"alpha_long": "alpha_long", "alpha_short": "alpha_short", "adaptive": "adaptive"},
    "native": WINDOW,
    "relax": RELAX,
    "relax-forcing": RELAX,
    "rolling-sink": WINDOW,
    "tethercache": WINDOW
    | {"recent_size": "recent", "alpha": "alpha", "tau": "tau", "score_temperature": "temperature"},
    "triattention": WINDOW
    | {"budget_frames": "budget_frames", "keep_last_frames": "keep_last", "offset_max_frames": "furthest"}
    | {"pruning_mode": "shared_by_layers", "score_aggregation": "aggregation"}
    | {"normalize_scores": "normalize", "protect_sink": "protect_sink"},
}
"""Recorded key -> our parameter, by method. What a case does not record is as in CODE, or keeps its default."""
VALUES: Mapping[str, Mapping[str, bool]] = {"pruning_mode": {"layer_perhead": False, "perhead": True}}
"""Recorded words -> values of our parameter, by recorded key."""
ENGINE = {
    *("method", "num_frame_per_block", "context_noise"),
    *("denoising_step_list", "timestep_shift", "warp_denoising_step"),
}
"""Recorded keys that set up the engine (`longtake.jobs.golden.engine`)."""
LONGLIVE_RAG = {
    *("use_latentmem", "memory_size", "recent_exclude", "compression_method", "ae_weights"),
    *WINDOW,
}
"""Recorded keys of cases that name no method."""
OTHERS: Mapping[str, set[str]] = {
    "forcing-kv": {"local_attn_size", "retention_ratio", "static_heads"},  # read by longtake.jobs.golden.given
    "tethercache": {"memory_size"},  # must be window - sink - recent
}
"""Recorded keys that are read elsewhere, or follow from others."""
SWITCH = {"prompt_switch", "global_sink"}
"""Recorded keys that say what a change of the prompt does."""
RECACHE, KEPT = "kv-recache", (None, "none")
RECACHES: Mapping[str, Mapping[bool, Mapping[str, Any]]] = {
    "native": {True: {"recache": "keep-sink"}, False: {"recache": "new-sink"}},
    "dummy-forcing": {False: {}},
    "forcing-kv": {True: {}},
    "triattention": {True: {}},
}
"""Method -> `global_sink` -> our parameters, for methods that compute their window again where the prompt changes."""
FLUSHES = ("infinity-rope",)
"""Methods with another answer to a change of the prompt, for which nothing is recorded."""
FIXED: Mapping[str, Mapping[str, Any]] = {
    "relax": {"hist_position_idx": -2},
    "relax-forcing": {"hist_position_idx": -2},
    "triattention": {"compress_every_n_frames": 3, "perhead_layer_aggregation": "mean_of_layer_max"}
    | {"tie_break_noise": False},
}
"""Recorded keys without a parameter of ours, and the one value that our method has."""
PUBLISHED = ("rag",)
"""Methods of cases that name none."""
CODE: Mapping[str, Mapping[str, Any]] = {
    "deep-forcing": {"contiguous": False},
    "infinity-rope": {"late_query": True, "cut_to": 45},
    "memrope": {"from_zero": False},
    "relax": {"window": None},  # as long as its parts
    "relax-forcing": {"window": None},
    "triattention": {"slot_places": True},
}
"""What the authors' code does where it differs from the default."""
RECORDED: Mapping[str, str] = {"forcing-kv": "table", "triattention": "statistics"}
"""Our parameter that a case has a file or a table for."""


def variant(name: str) -> dict[str, Any] | None:
    """Our parameters, where they are not the defaults, with which golden cases check a method; None: there are none."""
    if name not in {*PARAMETERS, *PUBLISHED} - UNRECORDED:
        return None
    given = {RECORDED[name]: "as recorded"} if name in RECORDED else {}
    default = methods.get(name)()
    return {key: value for key, value in CODE.get(name, {}).items() if getattr(default, key) != value} | given


def check_keys(path: Path, recorded: Mapping[str, Any]) -> None:
    """Raise ConfigError for a recorded key that nothing reads, or for a value that our method cannot have."""
    name = recorded.get("method")
    fixed: Mapping[str, Any] = FIXED.get(name, {}) if name else {}
    own = {*parameters(name), *OTHERS.get(name, ()), *fixed} if name else LONGLIVE_RAG
    own = own | ENGINE | switch_keys(name)
    label = name or "a case that names no method"
    for key, value in recorded.items():
        if key not in own:
            raise ConfigError(f"{path}: config.{key}: no such setting of {label}; {did_you_mean(key, sorted(own))}")
        if key in fixed and value != fixed[key]:
            raise ConfigError(
                f"{path}: config.{key} = {value!r}: must be {fixed[key]!r}, the one value that our {name} has"
            )
        if key in VALUES and value not in VALUES[key]:
            raise ConfigError(f"{path}: config.{key} = {value!r}: must be {' or '.join(VALUES[key])}")
    kind, size = recorded.get("compression_method"), recorded.get("memory_size")
    if kind not in (None, "avg_pool", "ae"):
        raise ConfigError(f"{path}: config.compression_method = {kind!r}: must be avg_pool, ae or null")
    if size and name is None and not recorded.get("use_latentmem"):
        raise ConfigError(f"{path}: config.memory_size = {size}: must be 0 where use_latentmem is false")


def switch_keys(name: str | None) -> set[str]:
    """The keys of SWITCH that a case of this method may have."""
    if name in FLUSHES:
        return set()
    return SWITCH if name is None or name in RECACHES else {"prompt_switch"}


def check_memory(path: Path, recorded: Mapping[str, Any], config: MethodConfig) -> None:
    """Raise ConfigError for a memory of another size than TetherCache's other settings leave."""
    size = recorded.get("memory_size")
    if size is not None and isinstance(config, TetherCache):
        left = (config.window or 0) - (config.sink or 0) - config.recent
        if size != left:
            rule = "local_attn_size - sink_size - recent_size"
            raise ConfigError(f"{path}: config.memory_size = {size}: must be {left}, {rule}")


def parameters(name: str) -> Mapping[str, str]:
    """Recorded key -> our parameter. Raises ConfigError for a method that no parameters are known of."""
    if name not in PARAMETERS:
        raise ConfigError(f"method {name!r}: must be one of {', '.join(PARAMETERS)}")
    return PARAMETERS[name]


def method_of(path: Path, facts: Mapping[str, Any]) -> MethodConfig:
    """The method of the case whose .json is `path`. Raises ConfigError for one that no parameters are known of."""
    recorded = facts["config"]
    params = dict(answer_to_a_switch(path, facts))
    if "method" not in recorded:
        return published(path, recorded, params)
    name = recorded["method"]
    for theirs, ours in parameters(name).items():
        if theirs in recorded:
            params[ours] = VALUES[theirs][recorded[theirs]] if theirs in VALUES else recorded[theirs]
    if name == "triattention":
        params["statistics"] = str(path.with_suffix(".safetensors"))
    config = settings.build(methods.get(NAMES.get(name, name)), {**CODE.get(name, {}), **params}, f"method {name}")
    check_memory(path, recorded, config)
    return given(path, config, facts)


def answer_to_a_switch(path: Path, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Our parameters for what a change of the prompt does. Without `prompt_switch`, native changes the text alone.
    Raises ConfigError for an answer that our method does not have."""
    recorded = facts["config"]
    name = recorded.get("method") or ("rag" if recorded.get("use_latentmem") else "native")
    how, sink, changes = recorded.get("prompt_switch"), recorded.get("global_sink"), RECACHES.get(name, {})
    if how in KEPT:
        if changes and name != "native" and "prompt_switch" in recorded and len(facts.get("prompts", [])) > 1:
            raise ConfigError(f"{path}: config.prompt_switch = {how!r}: must be {RECACHE}, as our {name} does")
        return {"recache": "none"} if name == "native" else {}
    if how != RECACHE or not changes:
        known = f"{RECACHE} or none" if changes else "none"
        raise ConfigError(f"{path}: config.prompt_switch = {how!r}: must be {known} for {name}")
    if sink not in changes:
        known = " or ".join(str(value).lower() for value in changes)
        raise ConfigError(f"{path}: config.global_sink = {sink!r}: must be {known} for {name}")
    return changes[sink]


def published(path: Path, recorded: Mapping[str, Any], params: Mapping[str, Any]) -> MethodConfig:
    """LongLive-RAG's two: the window alone, or retrieval."""
    if not recorded["use_latentmem"]:
        return Native(**params)
    return Rag(recorded["memory_size"], recorded["recent_exclude"], descriptor=descriptor_of(path.parent, recorded))


def descriptor_of(folder: Path, recorded: Mapping[str, Any]) -> str:
    """`avg-pool`, or the file of the autoencoder; ConfigError for any other kind."""
    kind, weights = recorded.get("compression_method"), recorded.get("ae_weights")
    if kind == "avg_pool" or (recorded["memory_size"] == 0 and not weights):
        return "avg-pool"
    if kind == "ae" and weights:
        return str(folder / weights)
    raise ConfigError(f"compression_method {kind!r} with ae_weights {weights!r}: must be avg_pool, or ae with a file")
