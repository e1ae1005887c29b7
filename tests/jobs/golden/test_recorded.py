"""Recorded settings become parameters, or are refused by name."""

from pathlib import Path

import pytest

from longtake.jobs.golden.recorded import check_keys, method_of
from longtake.platform.checkpoints.files import read_json
from longtake.platform.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden"
METHODS = GOLDEN / "methods"
TWO = [{"block": 0}, {"block": 7}]


def config_of(case, prompts=None, without=(), **settings):
    """The method of a case with other settings; with its keys checked, as `verify` does."""
    path = GOLDEN / f"{case}.json"
    facts = read_json(path)
    config = {key: value for key, value in (facts["config"] | settings).items() if key not in without}
    facts |= {"config": config} | ({} if prompts is None else {"prompts": prompts})
    check_keys(path, config)
    chosen = method_of(path, facts)
    chosen.check(chosen.window_in(chosen_window(config)), (16, 4, 6))
    return chosen


def chosen_window(config):
    from longtake.platform.methods.base import Window

    return Window(config.get("local_attn_size", 12), config.get("sink_size", 1), config["num_frame_per_block"])


@pytest.mark.parametrize(
    ("case", "settings", "parameters"),
    [
        ("dummy_forcing", {"local_attn_size": 15, "sink_size": 3}, {"window": 15, "sink": 3}),
        ("forcing_kv", {"local_attn_size": 12}, {"window": 5}),
        ("triattention", {"pruning_mode": "perhead"}, {"shared_by_layers": True}),
        ("triattention", {"pruning_mode": "layer_perhead"}, {"shared_by_layers": False}),
        ("deep_forcing", {"relocate_topc": True}, {"contiguous": True}),
    ],
)
def test_a_recorded_setting_is_a_parameter(case, settings, parameters):
    config = config_of(f"methods/{case}", **settings)
    assert {name: getattr(config, name) for name in parameters} == parameters


@pytest.mark.parametrize(
    ("case", "settings", "reason"),
    [
        ("methods/rolling_sink", {"sink_size": 3}, "sink = 3"),
        ("methods/memrope", {"global_sink": True}, r"config\.global_sink: no such setting of memrope"),
        ("methods/tethercache", {"memory_size": 13}, r"config\.memory_size = 13: must be 14, local_attn_size - sink"),
        ("case1_native", {"memory_size": 6}, r"config\.memory_size = 6: must be 0 where use_latentmem is false"),
        ("case1_native", {"compression_method": "mean"}, "'mean': must be avg_pool, ae or null"),
        ("methods/dummy_forcing", {"local_attn_size": -1}, "window = -1"),
        ("methods/forcing_kv", {"local_attn_size": -1}, r"config\.local_attn_size = -1: must be a number of frames"),
        ("methods/infinity_cut", {"prompt_switch": "none"}, r"config\.prompt_switch: no such setting of infinity-rope"),
        ("methods/memrope", {"prompt_switch": "kv-recache"}, "must be none for memrope"),
        ("methods/recache_new_sink", {"prompt_switch": "flush"}, "'flush': must be kv-recache or none for native"),
        ("methods/recache_new_sink", {"global_sink": None}, "global_sink = None: must be true or false for native"),
        ("methods/dummy_forcing", {"prompt_switch": "kv-recache", "global_sink": True}, "must be false for dummy"),
        ("methods/forcing_kv", {"prompt_switch": "kv-recache", "global_sink": False}, "must be true for forcing-kv"),
        ("methods/triattention", {"prompt_switch": None}, "must be kv-recache, as our triattention does"),
        ("case2_latentmem_avgpool", {"prompt_switch": "kv-recache"}, "must be none for rag"),
    ],
)
def test_a_setting_that_contradicts_our_method_is_refused(case, settings, reason):
    with pytest.raises(ConfigError, match=reason) as raised:
        config_of(case, TWO, **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("case", "settings", "without", "recache"),
    [
        ("methods/recache_keep_sink", {}, (), "keep-sink"),
        ("methods/recache_new_sink", {}, (), "new-sink"),
        ("methods/recache_new_sink", {"prompt_switch": "none"}, (), "none"),
        ("methods/recache_new_sink", {"prompt_switch": None}, (), "none"),
        ("methods/recache_new_sink", {}, ("prompt_switch",), "none"),
        ("case1_native", {}, (), "none"),
    ],
)
def test_a_window_is_computed_again_only_if_that_was_recorded(case, settings, without, recache):
    assert config_of(case, without=without, **settings).recache == recache


def test_a_memory_is_as_long_as_our_defaults_leave_it():
    with pytest.raises(ConfigError, match="memory_size = 13: must be 14"):
        config_of("methods/tethercache", without=("local_attn_size", "recent_size"), memory_size=13)


@pytest.mark.parametrize(("case", "sink"), [("dummy_forcing", False), ("forcing_kv", True), ("triattention", True)])
def test_methods_that_compute_their_window_again_read_the_switch(case, sink):
    assert config_of(f"methods/{case}", TWO, prompt_switch="kv-recache", global_sink=sink) == config_of(
        f"methods/{case}", TWO
    )


@pytest.mark.parametrize(
    ("case", "key", "parameter", "code"),
    [
        ("deep_forcing", "relocate_topc", "contiguous", False),
        ("infinity_cut", "rope_cut_from", "cut_to", 45),
        ("triattention", "pruning_mode", "slot_places", True),
        ("memrope", "adaptive", "from_zero", False),
    ],
)
def test_without_the_recorded_key_the_authors_code_is_read(case, key, parameter, code):
    assert getattr(config_of(f"methods/{case}", without=(key,)), parameter) == code
