"""`longtake plan`: what is left to do, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scoring.cost import LARGE_MEGAPIXELS, MEASURED, POCKET_MEGAPIXELS, at_size, scoring_seconds
from longtake.jobs.cli import execute
from longtake.jobs.sweep.estimates.cost import costs_of
from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.jobs.workers.scoring import ScoreItem, ScoreWorker
from longtake.platform.backbones.pocket import Pocket
from longtake.platform.backbones.wan import DECODE_SECONDS, LongLive
from longtake.platform.errors import NotPulledError
from longtake.platform.methods.native import Native
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from tests.jobs import tiny

CLASSICAL = SuiteEntry("classical", "classical")
SHORT = ["lengths_s=[3]", "methods=[native]"]


def test_only_what_is_left_is_priced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two takes: at first both are left, then one is made, then scored, then all is done."""
    file = tiny.write_sweep(tmp_path)
    grid, store = expand(file, SHORT), SweepStore(tmp_path / "runs", "small")
    first, second = grid.takes

    def planned() -> str:
        assert execute(["plan", str(file), *SHORT]) == 0
        return capfd.readouterr().out

    assert "to do: make 2 takes (0 made), score 2 (0 scored)" in planned()
    assert not (tmp_path / "runs").exists()
    with store.lock():
        store.write_plan(grid.config_yaml, grid.takes)
        SamplerWorker(store).run(MakeItem((first,)), lambda report: None)
        assert "to do: make 1 take (1 made), score 2 (0 scored)" in planned()
        ScoreWorker(store).run(ScoreItem(first, tuple(grid.suites)), lambda report: None)
        assert "to do: make 1 take (1 made), score 1 (1 scored)" in planned()
        SamplerWorker(store).run(MakeItem((second,)), lambda report: None)
        out = planned()
        assert "to do: make 0 takes (2 made), score 1 (1 scored)" in out
        assert "0 B of disk" not in out
        ScoreWorker(store).run(ScoreItem(second, tuple(grid.suites)), lambda report: None)
    out = planned()
    assert "all of 2 takes made and scored; nothing is left to do" in out
    assert "wall time" not in out
    assert not store.index_file.exists()  # a plan writes nothing


def test_without_weights_what_is_done_is_not_known(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids of takes need the hash of the weights, so no take is called missing, changed, or not made."""
    file, words = tiny.write_sweep(tmp_path), ["plan", str(tmp_path / "small.yaml"), *SHORT]
    grid, store = expand(file, SHORT), SweepStore(tmp_path / "runs", "small")

    def fingerprint(kind: type) -> dict[str, str]:
        raise NotPulledError("weights tiny: missing; run longtake weights pull tiny")

    with monkeypatch.context() as patch:
        patch.setattr(tiny.Tiny, "fingerprint", classmethod(fingerprint))
        assert execute(words) == 0
        assert "are not known" not in capfd.readouterr().out  # nothing has run
        store.write_plan(grid.config_yaml, grid.takes)
        assert execute(words) == 0
        out = capfd.readouterr().out
    assert "note: tiny cannot run yet: weights tiny: missing" in out
    assert f"note: {store.folder}: the takes that are done are not known" in out
    assert "to do: make 2 takes, score 2;" in out
    assert "changed" not in out
    assert "cannot run here" not in out
    assert expand(file, SHORT, need_weights=False).ids_are_final


def test_columns_in_which_nothing_costs_are_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = str(tiny.write_sweep(tmp_path))
    heads = []
    for method in ("native", "rag"):
        assert execute(["plan", file, f"methods=[{method}]", "lengths_s=[30]"]) == 0
        heads.append(
            next(line.split() for line in capfd.readouterr().out.splitlines() if line.strip().startswith("backbone"))
        )
    assert heads[0] == ["backbone", "method", "seconds", "takes", "make", "score", "CPU", "disk"]
    assert heads[1] == [*heads[0], "bank"]


def test_the_wall_time_is_that_of_the_workers_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = str(tiny.write_sweep(tmp_path))
    assert execute(["plan", file]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "here, with 1 sampler and 1 evaluator on 1 cores, closing steps included" in out
    assert execute(["plan", file, "workers={cluster: 10.0.0.1:6379}"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "wall time: depends on the cluster; one sampler needs about" in out


def test_a_sweep_for_gpus_that_are_not_here_says_so_first_and_has_no_time_here(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))  # other tests pull small ones into the session's folder
    assert execute(["plan", "longlive-rag", "workers.gpus_per_sampler=64"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("cannot run here: ")
    assert "workers.gpus_per_sampler: a sampler needs 64; this machine has " in lines[0]
    assert not [line for line in lines[1:] if "cannot run here" in line or " here, with" in line]
    (wall,) = [line for line in lines if line.startswith("wall time: ")]
    assert wall.startswith("wall time: depends on the GPUs, which are not here; one sampler needs about ")
    (to_do,) = [line for line in lines if line.startswith("to do: ")]
    assert "; at least " in to_do
    assert " of it for scoring, not counting 7 metrics (below); " in to_do
    (unknown,) = [line for line in lines if line.startswith("not in the estimates")]
    assert unknown.count(",") == 1 + 6  # ", since it was not measured", and seven metrics


def test_the_cost_of_a_take_is_sampling_decoding_encoding_and_scoring(tmp_path: Path) -> None:
    """3 s of the tiny backbone: 12 latent frames, 45 frames of 128x128."""
    grid = expand(tiny.write_sweep(tmp_path), SHORT)
    (cost,) = costs_of(grid).values()
    spec = grid.takes[0].backbone and tiny.Tiny.spec
    flops = 4 * spec.block_flops(spec.window)
    assert cost.cpu_seconds == pytest.approx(flops / 25e9 + 3 * (spec.decode_seconds + spec.encode_seconds))
    assert cost.make_seconds == cost.cpu_seconds
    assert cost.gpu_seconds == 0
    assert cost.score_seconds == pytest.approx(45 * (0.00026 + sum(MEASURED[key][0] for key in CLASSICAL.metrics)))
    assert cost.not_estimated == ()


def test_decoding_on_a_cpu_is_in_the_estimate() -> None:
    """30 s of LongLive: 120 latent frames."""
    take = Take("longlive", MethodSpec("native", "native"), 30, 120, "a town", 0)
    gpu = LongLive.cost(take, Native(), on_gpu=True)
    apart = LongLive.cost(take, Native(), on_gpu=True, decodes_on_gpu=False)
    cpu = LongLive.cost(take, Native())
    assert gpu["cpu_seconds"] == pytest.approx(30 * LongLive.spec.encode_seconds)
    assert apart["cpu_seconds"] == pytest.approx(30 * (LongLive.spec.encode_seconds + DECODE_SECONDS))
    assert cpu["gpu_seconds"] == 0
    assert cpu["cpu_seconds"] > apart["cpu_seconds"]
    assert Pocket.cost(replace(take, backbone="pocket"), Native())["gpu_seconds"] == 0


def test_scoring_grows_with_frames_and_pixels() -> None:
    small, missing = scoring_seconds([CLASSICAL], 100, 128, 128, on_gpu=False)
    large, _ = scoring_seconds([CLASSICAL], 100, 832, 480, on_gpu=False)
    assert missing == []
    assert small == pytest.approx(100 * (0.00026 + sum(MEASURED[key][0] for key in CLASSICAL.metrics)))
    assert large == pytest.approx(100 * (0.0014 + sum(MEASURED[key][1] for key in CLASSICAL.metrics)))
    assert scoring_seconds([CLASSICAL], 200, 128, 128, on_gpu=False)[0] == pytest.approx(2 * small)
    assert at_size((1.0, 3.0), (POCKET_MEGAPIXELS + LARGE_MEGAPIXELS) / 2) == pytest.approx(2.0)


def test_a_metric_that_two_suites_share_costs_once_and_unknown_ones_are_named() -> None:
    again = SuiteEntry("classical", "again")
    once, _ = scoring_seconds([CLASSICAL], 100, 128, 128, on_gpu=False)
    assert scoring_seconds([CLASSICAL, again], 100, 128, 128, on_gpu=False) == (once, [])
    vbench = SuiteEntry("vbench-long", "vbench", {"dimensions": ["imaging_quality"]})
    assert scoring_seconds([vbench], 100, 832, 480, on_gpu=True)[1] == ["imaging_quality", "scene_cuts"]
