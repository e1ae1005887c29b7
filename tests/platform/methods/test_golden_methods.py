"""Methods against their authors' code: recorded cases, and wrong readings that must fail them.

A wrong reading is the method with one rule changed. The least effect measured is 7 times the tolerance.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.jobs.golden import recorded
from longtake.jobs.golden.case import case_files
from longtake.jobs.golden.engine import build_rollout
from longtake.jobs.verify import verify_case
from longtake.platform.checkpoints.files import load_safetensors, read_json
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Plan
from longtake.platform.methods.ema_sink import EmaSinkMethod
from longtake.platform.methods.fademem import FadeMemMethod
from longtake.platform.methods.infinity_rope import InfinityRopeMethod
from longtake.platform.methods.memrope import MemRopeMethod
from longtake.platform.methods.native import SlidingWindow
from longtake.platform.methods.rolling_sink import RollingSinkMethod

GOLDEN = Path(__file__).parents[2] / "golden" / "methods"
CASES = [path for path in case_files(GOLDEN) if read_json(path)["config"]["method"] in recorded.PARAMETERS]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_golden(case):
    verdict = verify_case(case)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("case", "setting", "reason"),
    [
        ("memrope", {"alpha_longer": 0.5}, r"alpha_longer: no such setting of memrope; did you mean 'alpha_long'\?"),
        ("memrope", {"budget": 16}, "budget: no such setting of memrope; known: adaptive, alpha_long"),
        ("triattention", {"pruning_mode": "global"}, "pruning_mode = 'global': must be layer_perhead or perhead"),
        ("memrope", {"method": "memoir"}, "method 'memoir': must be one of deep-forcing"),
    ],
)
def test_a_recorded_setting_that_nothing_reads_is_an_error(tmp_path, case, setting, reason):
    facts = read_json(GOLDEN / f"{case}.json")
    shutil.copy(GOLDEN / f"{case}.safetensors", tmp_path)
    (tmp_path / f"{case}.json").write_text(json.dumps({**facts, "config": {**facts["config"], **setting}}))
    where = "" if "method" in setting else rf"{case}\.json: config\."
    with pytest.raises(ConfigError, match=where + reason) as raised:
        verify_case(tmp_path / f"{case}.json")
    assert "\n" not in str(raised.value)


def test_a_case_without_a_method_has_the_settings_of_longlive_rag():
    recorded.check_keys(GOLDEN / "case.json", {"use_latentmem": True, "memory_size": 4, "sink_size": 1})
    with pytest.raises(
        ConfigError, match=r"case\.json: config\.budget: no such setting of a case that names no method"
    ):
        recorded.check_keys(GOLDEN / "case.json", {"use_latentmem": True, "budget": 4})


def off(case, wrong=None, blocks=None, **params):
    """The largest difference of the latents with a rule changed: another class of the method, or other parameters."""
    path = GOLDEN / f"{case}.json"
    facts, tensors = read_json(path), load_safetensors(path.with_suffix(".safetensors"))
    rollout = build_rollout(path, facts, tensors)
    config = replace(recorded.method_of(path, facts), **params)
    method = config.build(rollout.method.info)
    if wrong is not None:
        method.__class__ = wrong
    rollout.method = method
    if method.grouped:
        rollout.context.method = method
    count = blocks or len(facts["blocks"])
    output = torch.cat([block.latents for block in rollout.blocks(count)], dim=1)
    return float((output - tensors["output"][:, : output.shape[1]]).abs().max())


def absolute(plan):
    rows = tuple(tuple(replace(at, time=at.frame) for at in row) for row in plan.rows)
    return Plan(rows, tuple(at.frame for at in rows[0][-3:]))


class Absolute(InfinityRopeMethod):
    def plan(self, first):
        return absolute(super().plan(first))


class KeepsCut(InfinityRopeMethod):
    """The cut's positions hold for a second block."""

    def plan(self, first):
        before, self.cut = self.cut, first if first - 3 == self.cut else self.cut
        plan = super().plan(first)
        self.cut = before
        return plan


class FlushesSink(InfinityRopeMethod):
    def plan(self, first):
        plan = super().plan(first)
        if len(plan.rows[0]) == 9 or first != 18:
            return plan
        rows = tuple(tuple(replace(at, time=at.time - 1) for at in row[1:]) for row in plan.rows)
        return Plan(rows, plan.query_times)


class NoFlush(InfinityRopeMethod):
    def switch(self, first, cut):
        return None


@pytest.mark.parametrize(
    ("case", "wrong", "params", "effect"),
    [
        ("infinity_plain", Absolute, {}, 0.5),
        ("infinity_cut", NoFlush, {}, 0.5),  # the cut ignored
        ("infinity_cut", KeepsCut, {}, 0.5),
        ("infinity_cut", None, {"cut_to": 48}, 0.5),
        ("infinity_cut", None, {"cut_to": None}, 0.5),
        ("infinity_flush_w9", NoFlush, {}, 0.5),
        ("infinity_flush_w9", FlushesSink, {}, 0.3),
        ("infinity_flush_w9", None, {"keep": 3}, 0.5),
        ("infinity_flush_w9", None, {"late_query": False}, 0.5),
    ],
)
def test_wrong_infinity(case, wrong, params, effect):
    assert off(case, wrong, **params) > effect


class FirstOfFive(MemRopeMethod):
    """The first mean is of all that made room, frames 3 to 7."""

    def mean(self, cache, frames):
        return super().mean(cache, range(3, 8) if frames == range(5, 8) else frames)


class FirstOfThree(MemRopeMethod):
    def mean(self, cache, frames):
        return super().mean(cache, range(3, 6) if frames == range(5, 8) else frames)


class AveragesAtZero(MemRopeMethod):
    def plan(self, first):
        plan = super().plan(first)
        rows = tuple(tuple(replace(at, time=0) if at.entry else at for at in row) for row in plan.rows)
        return replace(plan, rows=rows)


@pytest.mark.parametrize(
    ("case", "wrong", "params", "effect"),
    [
        ("memrope", FirstOfFive, {}, 0.02),
        ("memrope", FirstOfThree, {}, 0.04),
        ("memrope", AveragesAtZero, {}, 0.08),
        ("memrope", None, {"from_zero": True}, 0.3),
        ("memrope", None, {"adaptive": True}, 0.05),
        ("memrope", None, {"alpha_long": 0.1, "alpha_short": 0.01}, 0.005),
    ],
)
def test_wrong_memrope(case, wrong, params, effect):
    assert off(case, wrong, **params) > effect


def test_a_wrong_bound_of_memrope_fails(monkeypatch):
    monkeypatch.setattr("longtake.platform.methods.memrope.LEAST", 0.0)
    assert off("memrope_adaptive") > 2e-4


class Forwards(RollingSinkMethod):
    def attended(self, time, first):
        at = super().attended(time, first)
        return at if at.frame == time else Attended(time % 18, time, at.reason)


class OwnIndex(RollingSinkMethod):
    def plan(self, first):
        return absolute(super().plan(first))


class TooEarly(RollingSinkMethod):
    """The block before is recycled already."""

    def attended(self, time, first):
        return super().attended(time, first + 3) if time < first else super().attended(time, first)


class Blockwise(RollingSinkMethod):
    """Backwards by blocks, each of which runs forwards."""

    def attended(self, time, first):
        at = super().attended(time, first)
        backwards = at.frame != time and time // 18 % 2 == 1
        return replace(at, frame=at.frame + 2 * (time % 3) - 2) if backwards else at


@pytest.mark.parametrize(("wrong", "effect"), [(Forwards, 0.5), (OwnIndex, 0.5), (TooEarly, 0.02), (Blockwise, 0.2)])
def test_wrong_rolling_sink(wrong, effect):
    assert off("rolling_sink", wrong) > effect


class LateEma(EmaSinkMethod):
    """The first pass of a block still attends the sink as it was."""

    def committed(self, first, cache):
        if hasattr(self, "due"):
            super().committed(self.due, self.keep)
        self.due, self.keep = first, Kept(cache, self.window)


class Kept:
    """A cache whose frames stay."""

    def __init__(self, cache, window):
        self.cache, self.frames = cache, {frame: entry.clone() for frame, entry in cache.live.items()}

    def frame(self, frame):
        return self.frames[frame]

    def __getattr__(self, name):
        return getattr(self.cache, name)


class EveryPass(EmaSinkMethod):
    def committed(self, first, cache):
        super().committed(first, cache)
        super().committed(first, cache)
        super().committed(first, cache)


class AbsoluteEma(EmaSinkMethod):
    def plan(self, first):
        return absolute(super().plan(first))


@pytest.mark.parametrize(("wrong", "effect"), [(LateEma, 0.05), (EveryPass, 0.05), (AbsoluteEma, 0.2)])
def test_wrong_ema_sink(wrong, effect):
    assert off("ema_sink_fast", wrong) > effect


class OwnSinkKeys(SlidingWindow):
    """The first frames of the window are computed again too, beside the sink."""

    def switch(self, first, cut):
        answer = super().switch(first, cut)
        again = range(first - self.window.size, first)
        return replace(answer, frames=again, plan=self.ending(first, list(again), len(again)))

    def ending(self, first, live, new):
        plan = super().ending(first, live, new)
        if new == self.window.size:
            rows = tuple(tuple(replace(at, frame=f, time=f) for at, f in zip(r, live, strict=True)) for r in plan.rows)
            return Plan(rows, tuple(live))
        return plan


@pytest.mark.parametrize(
    ("case", "wrong", "params", "effect"),
    [
        ("recache_keep_sink", None, {"recache": "none"}, 0.1),
        ("recache_keep_sink", None, {"recache": "new-sink"}, 0.5),
        ("recache_keep_sink", OwnSinkKeys, {}, 0.02),
        ("recache_new_sink", None, {"recache": "keep-sink"}, 0.5),
        ("recache_new_sink", None, {"recache": "none"}, 0.1),
    ],
)
def test_wrong_recache(case, wrong, params, effect):
    assert off(case, wrong, **params) > effect


class NewestMerges(FadeMemMethod):
    def closest(self, first):
        warped = [(first - slot.centre) ** self.config.warp_beta for slot in self.slots]
        return min(range(len(warped) - 1), key=lambda i: abs(warped[i] - warped[i + 1]))


class AbsoluteFadeMem(FadeMemMethod):
    def plan(self, first):
        return absolute(super().plan(first))


@pytest.mark.parametrize(
    ("wrong", "params", "effect"),
    [(None, {"span_gamma": 1.0}, 0.02), (NewestMerges, {}, 0.5), (AbsoluteFadeMem, {}, 0.5)],
)
def test_wrong_fademem(wrong, params, effect):
    assert off("fademem", wrong, **params) > effect


def test_a_cut_at_a_window_of_six_is_flushed_either_way():
    """With W 6 and S 1 a flush keeps what stays anyway: nothing can tell them apart."""

    class CutAlone(InfinityRopeMethod):
        def switch(self, first, cut):
            self.cut = first if cut else self.cut

    assert off("infinity_cut", CutAlone) < 5e-5
