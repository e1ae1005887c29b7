"""`longtake verify` on copies of recorded cases with one fault each: every fault is found, or named as not compared."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.jobs.golden.case import case_files
from longtake.jobs.verify import detail, verdict_of, verify
from longtake.platform.checkpoints.files import load_safetensors, read_json

GOLDEN = Path(__file__).parents[2] / "golden"
METHODS = GOLDEN / "methods"


def copied(source, folder, change=None, tensors=None, stem=None):
    """A copy of a case in `folder`, changed by two functions; its weights are those of the original."""
    facts, arrays = read_json(source.with_suffix(".json")), load_safetensors(source.with_suffix(".safetensors"))
    facts["weights"] = str((source.parent / facts["weights"]).resolve())
    for function, of in ((change, facts), (tensors, arrays)):
        if function is not None:
            function(of)
    target = folder / f"{stem or source.name}.json"
    target.write_text(json.dumps(facts))
    save_file(arrays, target.with_suffix(".safetensors"))
    return target


def shifted(name):
    def change(arrays):
        arrays[name] = arrays[name] + 1e-3

    return change


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("methods/memrope_adaptive", "ema_long_k_last_layer"),
        ("methods/memrope_adaptive", "ema_short_v_last_layer"),
        ("methods/memrope_adaptive", "x0_steps"),
        ("methods/memrope_adaptive", "step_timesteps"),
        ("methods/ema_sink_fast", "sink_k_last_layer"),
        ("methods/fademem", "memory_k_last_layer"),
        ("methods/tethercache_small", "memory_v_last_layer"),
        ("methods/recache_keep_sink", "recache_flow_1"),
        ("case1_native", "final_cache_k_last_layer"),
        ("case2_latentmem_avgpool", "final_cache_v_last_layer"),
        ("case2_latentmem_avgpool", "pool_k_last_layer_first4"),
        ("case2_latentmem_avgpool", "descriptors"),
    ],
)
def test_every_recorded_array_is_compared(tmp_path, case, name):
    verdict = verdict_of(copied(GOLDEN / case, tmp_path, tensors=shifted(name)))
    assert not verdict.passed
    off = {name for name, array in verdict.arrays.items() if array.size > 5e-5}
    assert off == {name}
    assert detail(verdict).startswith(f"differ: {name} 1.0e-03")


def another_admission(facts):
    layer = facts["admissions"][-1]["layers"][2]
    layer["kept"] = [*layer["kept"][:-1], layer["candidates"][-1]]


def another_candidate(facts):
    facts["admissions"][3]["layers"][0]["candidates"][0] += 1


def another_score(facts):
    facts["admissions"][3]["layers"][0]["scores"][0] += 0.001


def fewer_tokens(facts):
    facts["compressions"][-1]["layers"][1]["tokens_kept"] -= 1


def no_tokens_excluded(facts):
    facts["compressions"][-1]["layers"][1]["excluded"] = 0


def not_compressed(facts):
    facts["blocks"][6]["attended_by_layer"][0]["compressed"] = False


def another_run(facts):
    facts["chunk_selections"][-1]["kept_chunks"] = [0, 1, 2]


def another_similarity(facts):
    facts["chunk_selections"][-1]["scores"][4] += 0.001


def another_gap(facts):
    facts["chunk_selections"][-1]["gap"] += 0.001


def another_gap_of_admissions(facts):
    facts["admissions"][-1]["layers"][1]["gap"] += 0.001


def another_span(facts):
    facts["memory"][-1]["span"][1] += 1


def another_mass(facts):
    facts["head_scores_first_mid_last"][2][3][1] += 0.001


def other_layers(facts):
    facts["blocks"][-1]["same_in_all_layers"] = True


@pytest.mark.parametrize(
    ("case", "change", "log"),
    [
        ("tethercache_small", another_admission, "admissions"),
        ("tethercache_small", another_candidate, "admissions"),
        ("tethercache_small", another_score, "admissions"),
        ("deep_forcing_12", fewer_tokens, "compressions"),
        ("deep_forcing_12", no_tokens_excluded, "compressions"),
        ("deep_forcing_12", not_compressed, "compressed"),
        ("forcing_kv", another_run, "chunk_selections"),
        ("forcing_kv", another_similarity, "chunk_selections"),
        ("forcing_kv", another_gap, "chunk_selections"),
        ("tethercache_small", another_gap_of_admissions, "admissions"),
        ("fademem", another_span, "memory"),
        ("dummy_forcing", another_mass, "head_scores_first_mid_last"),
        ("triattention", other_layers, "same_in_all_layers"),
    ],
)
def test_every_log_of_choices_is_compared(tmp_path, case, change, log):
    verdict = verdict_of(copied(METHODS / case, tmp_path, change))
    assert not verdict.passed
    assert verdict.frames_agree
    assert detail(verdict).startswith(f"differ: {log}")


def test_other_groups_of_heads_differ(tmp_path):
    def change(facts):
        groups = facts["head_groups"][0]
        groups["first"], groups["mid"] = groups["mid"], groups["first"]

    verdict = verdict_of(copied(METHODS / "dummy_forcing", tmp_path, change))
    assert not verdict.logs["head_groups"].agrees
    assert not verdict.frames_agree


@pytest.mark.parametrize("key", ["eligible", "frames_evicted_before_block", "selected_global", "selected_pool"])
def test_what_was_eligible_and_retrieved_is_compared(tmp_path, key):
    def change(facts):
        value = facts["blocks"][8][key]
        facts["blocks"][8][key] = value + 1 if isinstance(value, int) else [row[::-1] for row in value]

    verdict = verdict_of(copied(GOLDEN / "case2_latentmem_avgpool", tmp_path, change))
    assert [name for name, log in verdict.logs.items() if not log.agrees] == [key]


@pytest.mark.parametrize("key", ["similarities", "all_candidate_similarities", "gap_to_next"])
def test_similarities_are_compared(tmp_path, key):
    def change(facts):
        row = facts["blocks"][8][key]
        (row if key == "gap_to_next" else row[0])[0] += 0.001

    verdict = verdict_of(copied(GOLDEN / "case2_latentmem_avgpool", tmp_path, change))
    assert [name for name, log in verdict.logs.items() if not log.agrees] == [key]


def test_a_window_that_retrieves_has_another_log(tmp_path):
    def change(facts):
        facts["blocks"][8]["selected_global"] = [[4]]

    assert not verdict_of(copied(GOLDEN / "case1_native", tmp_path, change)).passed


def test_what_is_not_compared_is_named(tmp_path):
    def change(facts):
        facts["mood"] = "blue"
        facts["blocks"][2]["heat"] = 3
        facts["admissions"] = []

    def more(arrays):
        arrays["attention_mask"] = torch.ones(3)
        arrays["sums_k_last_layer"] = torch.ones(3)
        del arrays["flow_ctx"], arrays["x0_steps"]

    verdict = verdict_of(copied(METHODS / "infinity_plain", tmp_path, change, more))
    assert verdict.passed
    assert detail(verdict) == (
        "not compared: attention_mask, sums_k_last_layer, mood, admissions, blocks.heat; "
        "not recorded: flow_ctx, x0_steps"
    )


def test_what_a_method_should_record_is_named(tmp_path):
    def fewer(arrays):
        del arrays["memory_k_last_layer"], arrays["step_timesteps"]

    verdict = verdict_of(copied(METHODS / "fademem", tmp_path, lambda facts: facts.pop("memory"), fewer))
    assert detail(verdict) == "not recorded: step_timesteps, memory_k_last_layer, memory"


BATCHED = {"renoise": 2, "x0_steps": 2, "flow_ctx": 1}
"""Where rows are in an array, if not first."""


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("case", ["tethercache_small", "deep_forcing_12", "forcing_kv", "dummy_forcing"])
def test_logs_and_tables_of_two_rows(tmp_path, case, per_row):
    """The same take twice in a batch; its tables and logs once for both rows, or for each. One wrong row differs."""

    def twice(arrays):
        for name, array in arrays.items():
            if name != "step_timesteps":
                arrays[name] = torch.cat([array, array], dim=BATCHED.get(name, 0)).contiguous()

    def rows(facts):
        facts["batch"] = 2
        if per_row:
            tables = ("attended_by_layer", "attended_by_group", "dynamic_chunks")
            double(facts, "head_groups", "sampled_query_rows", "head_scores_first_mid_last")
            for block in facts["blocks"]:
                double(block, *tables)
            for item in facts.get("admissions", []):
                item["layers"] = [[layer, layer] for layer in item["layers"]]
            for item in (*facts.get("compressions", []), *facts.get("chunk_selections", [])):
                double(item, "layers", "kept_chunks", "scores", "gap")

    path = copied(METHODS / case, tmp_path, rows, twice)
    verdict = verdict_of(path)
    assert verdict.passed, verdict.problem or detail(verdict)
    arrays = load_safetensors(path.with_suffix(".safetensors"))
    arrays["noise"][1] = arrays["noise"][1].flip(0)
    save_file(arrays, path.with_suffix(".safetensors"))
    other = verdict_of(path)
    assert not other.frames_agree
    assert not all(log.agrees for log in other.logs.values())


def double(of, *keys):
    for key in keys:
        if key in of:
            of[key] = [of[key], of[key]]


def test_a_text_that_no_prompt_names_is_not_compared(tmp_path):
    def one_prompt(facts):
        del facts["prompts"][1:]

    verdict = verdict_of(copied(METHODS / "infinity_flush_w9", tmp_path, one_prompt))
    assert not verdict.passed
    assert verdict.unread == ("prompt_embeds_1", "prompt_embeds_2")


def test_a_pass_that_ours_did_not_make_differs(tmp_path):
    def no_recache(facts):
        facts["config"]["prompt_switch"] = None

    verdict = verdict_of(copied(METHODS / "recache_new_sink", tmp_path, no_recache))
    assert math.isinf(verdict.arrays["recache_flow_0"].size)
    assert not verdict.passed


def test_all_tables_of_a_block_are_compared(tmp_path):
    def change(facts):
        block = facts["blocks"][5]
        block["attended_by_group"] = {"all": [*block["attended"][0][1:]]}

    assert not verdict_of(copied(METHODS / "infinity_plain", tmp_path, change)).frames_agree


def damaged(folder, how):
    """Files of an incomplete case beside a whole one."""
    bad = copied(GOLDEN / "derived" / "onestep", folder, stem="bad")
    copied(GOLDEN / "derived" / "onestep", folder)
    arrays = bad.with_suffix(".safetensors")
    if how == "json cut":
        bad.write_bytes(bad.read_bytes()[:300])
    elif how == "json empty":
        bad.write_text("{}")
    elif how == "json is a list":
        bad.write_text("[]")
    elif how == "no json":
        bad.unlink()
    elif how == "no json, arrays cut":
        bad.unlink()
        arrays.write_bytes(arrays.read_bytes()[:20])
    elif how == "no arrays":
        arrays.unlink()
    elif how == "arrays cut":
        arrays.write_bytes(arrays.read_bytes()[:2000])


DAMAGES = ("json cut", "json empty", "json is a list", "no json", "no json, arrays cut", "no arrays", "arrays cut")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_case_fails(tmp_path, capsys, how):
    damaged(tmp_path, how)
    assert [path.stem for path in case_files(tmp_path)] == ["bad", "onestep"]
    assert verify(tmp_path) == 1
    out = capsys.readouterr().out
    (bad, whole) = [line for line in out.splitlines() if line.startswith("│")]
    assert "FAIL" in bad
    assert "pass" in whole
    assert "bad: " in out


def no_list(facts):
    facts["blocks"] = {"0": facts["blocks"][0]}


def no_objects(facts):
    facts["blocks"] = [1, 2]


def no_config(facts):
    facts["config"] = []


def fewer_blocks(facts):
    del facts["blocks"][-1]


def no_table(facts):
    del facts["blocks"][1]["attended"]


def no_shift(facts):
    facts["config"]["timestep_shift"] = []


def another_network(facts):
    facts["arch"]["qk_norm"] = False


def another_width(facts):
    facts["arch"]["out_dim"] = 8


def another_height(facts):
    facts["arch"]["latent_height"] += 1


def another_count_of_tokens(facts):
    facts["arch"]["tokens_per_frame"] = 3


def late_prompt(facts):
    facts["prompts"] = [{"block": 0}, {"block": 2, "frame": 7}]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_network, "arch.qk_norm = False: must be True"),
        (another_width, "arch.out_dim = 8: must be 4"),
        (
            another_height,
            "noise is (1, 48, 4, 2, 4); batch, arch.in_dim, arch.latent_height, arch.latent_width say (1, 4, 3, 4)",
        ),
        (another_count_of_tokens, "arch.tokens_per_frame = 3: must be 2"),
        (late_prompt, "prompts: block 2 begins at frame 6"),
        (no_list, "blocks is of type dict; a case has it as list"),
        (no_objects, "blocks must be a list of objects"),
        (no_config, "config is of type list"),
        (fewer_blocks, "blocks are of 45 frames in all, noise of 48"),
        (no_table, "block 1 has no attended"),
        (no_shift, "TypeError"),
    ],
)
def test_a_case_of_another_form_fails_in_one_line(tmp_path, change, reason):
    verdict = verdict_of(copied(GOLDEN / "derived" / "onestep", tmp_path, change))
    assert not verdict.passed
    assert reason in verdict.problem
    assert "\n" not in verdict.problem


@pytest.mark.parametrize(
    ("case", "change", "key"),
    [
        ("dummy_forcing", lambda facts: facts.pop("sampled_query_rows"), "sampled_query_rows"),
        ("forcing_kv", lambda facts: facts["config"].pop("static_heads"), "static_heads"),
    ],
)
def test_a_method_that_misses_what_was_drawn_says_so(tmp_path, case, change, key):
    assert f"{key} is missing" in verdict_of(copied(METHODS / case, tmp_path, change)).problem


def test_a_missing_array_that_the_json_lists_fails(tmp_path):
    verdict = verdict_of(copied(GOLDEN / "case1_native", tmp_path, tensors=lambda arrays: arrays.pop("flow_ctx")))
    assert "has no flow_ctx" in verdict.problem


def test_an_array_of_another_shape_than_the_json_lists_fails(tmp_path):
    def change(arrays):
        arrays["flow_ctx"] = arrays["flow_ctx"][:-1]

    verdict = verdict_of(copied(GOLDEN / "case1_native", tmp_path, tensors=change))
    assert "tensors.flow_ctx is of shape [20, " in verdict.problem


def test_weights_and_other_tables_are_no_cases():
    names = [path.stem for path in case_files(GOLDEN)]
    assert [name for name in names if not name.startswith("case")] == []
    assert not {"weights_A", "weights_C"} & {path.stem for path in case_files(GOLDEN / "derived")}


def test_steps_may_be_written_as_floats_and_a_case_renamed(tmp_path):
    def change(facts):
        facts["config"]["denoising_step_list"] = [float(step) for step in facts["config"]["denoising_step_list"]]

    verdict = verdict_of(copied(METHODS / "triattention", tmp_path, change, stem="renamed"))
    assert verdict.passed, detail(verdict) or verdict.problem


def test_a_fraction_of_a_step_cannot_be_warped(tmp_path):
    def change(facts):
        facts["config"]["denoising_step_list"][1] = 500.5

    assert "must be whole steps" in verdict_of(copied(METHODS / "triattention", tmp_path, change)).problem


def test_numbers_that_are_not_finite_differ(tmp_path):
    def change(arrays):
        arrays["x0_steps"][0, 0, 0, 0, 0, 0, 0] = math.nan

    verdict = verdict_of(copied(METHODS / "infinity_plain", tmp_path, tensors=change))
    assert math.isinf(verdict.arrays["x0_steps"].size)
