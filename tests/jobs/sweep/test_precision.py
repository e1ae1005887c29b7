"""`workers.precision` without a GPU: what is refused, and what a take, its sweep and its leaderboard record."""

import dataclasses
import json
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.results import board
from longtake.jobs.results import ranks as rank
from longtake.jobs.sweep import plan
from longtake.jobs.sweep.grid import expand
from longtake.platform.errors import ConfigError
from longtake.platform.store.ranks import SuiteRanks
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from tests.jobs import mini_wan, tiny

WAN = ["backbones=[longlive]", "suites=[classical]"]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))


def ids(tmp_path: Path, *words: str) -> list[str]:
    grid = expand(tiny.write_sweep(tmp_path), [*WAN, *words], need_weights=False)
    return [take.id for take in grid.takes]


def test_only_fp8_is_part_of_a_take(tmp_path: Path) -> None:
    """The first id is the same as before `workers.precision` existed."""
    own = ids(tmp_path)
    assert own[0] == "c8f6268c34d5506a"
    assert ids(tmp_path, "workers.precision=bf16") == own
    assert not set(ids(tmp_path, "workers.precision=fp8")) & set(own)


def test_a_take_says_fp8_and_the_plan_notes_it(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), [*WAN, "workers.precision=fp8"], need_weights=False)
    assert all(("precision", "fp8") in take.fingerprint for take in grid.takes)
    assert (
        "workers.precision: fp8 changes pixels beyond rounding; takes in fp8 and bf16 have different ids" in grid.notes
    )
    assert grid.resources(tmp_path).precision == "fp8"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["workers.precision=fp4"], "workers.precision: 'fp4' is not null, bf16 or fp8"),
        (
            ["workers.precision=fp8"],
            "'fp8' needs a backbone that computes in bf16, but tiny computes in float32; set null",
        ),
        (["workers.precision=bf16"], "'bf16' needs a backbone that computes in bf16, but tiny computes in float32"),
        ([*WAN, "workers={precision: fp8, device: cpu}"], "'fp8' needs a GPU, but the samplers compute on the CPU"),
        ([*WAN, "workers={precision: fp8, gpus_per_sampler: 0}"], "'fp8' needs a GPU, but the samplers compute on"),
    ],
)
def test_what_is_refused_when_the_file_is_read(words: list[str], line: str, tmp_path: Path) -> None:
    file = tiny.write_sweep(tmp_path)
    with pytest.raises(ConfigError) as error:
        expand(file, words, need_weights=False)
    assert line in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_sizes_that_8_bits_do_not_take_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = mini_wan.MiniLongLive.spec
    odd = dataclasses.replace(spec, gpus=1.0, network=dataclasses.replace(spec.network, ffn_dim=72))
    monkeypatch.setattr(mini_wan.MiniLongLive, "spec", odd)
    words = ["backbones=[mini-longlive]", "methods=[native]", "suites=[classical]", "workers.precision=fp8"]
    with pytest.raises(ConfigError, match="'fp8' needs sizes that are multiples of 16, but ffn_dim is 72; set bf16"):
        expand(tiny.write_sweep(tmp_path), words, need_weights=False)


def test_this_machine_is_asked_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = expand(tiny.write_sweep(tmp_path), [*WAN, "workers.precision=fp8"], need_weights=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "A10")
    with pytest.raises(ConfigError, match=r"needs compute capability 8\.9, but A10 has 8\.6"):
        plan.check_capability(grid)


def test_a_corpus_is_made_in_it_too(tmp_path: Path) -> None:
    file = tmp_path / "corpus.yaml"
    file.write_text("name: c\nbackbone: tiny\nprompts: ['dusk, brick; pan right 3 s']\nworkers: {precision: fp8}\n")
    with pytest.raises(
        ConfigError, match=r"corpus.yaml: workers.precision: 'fp8' needs a backbone that computes in bf16"
    ):
        corpus_spec.expand(file)


def test_a_leaderboard_says_what_its_takes_were_made_in() -> None:
    made = Take("longlive", MethodSpec("rag", "rag"), 30, 120, "p", 0, fingerprint=(("precision", "fp8"),))
    assert rank.precision_of([made]) == "fp8"
    assert rank.precision_of([dataclasses.replace(made, fingerprint=(("engine", "1"),))]) is None
    ranked = SuiteRanks("vb", "exact")
    assert board.title_of("s", "vb", ranked) == "s: vb (exact)"
    assert board.title_of("s", "vb", dataclasses.replace(ranked, precision="fp8")) == "s: vb (exact, made in fp8)"


def test_a_record_says_the_precision(wan_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Wan backbone computes in bf16 on a CPU, requested or not, and the take is the same."""
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(wan_weights))
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: s\nbackbones: [mini-longlive]\nmethods: [native]\nlengths_s: [1]\nprompts: [A boat.]\n"
        f"output: {tmp_path}\ntracking: {{uri: disabled}}\nworkers: {{cluster: inline, precision: bf16}}\n"
    )
    assert execute(["run", str(file)]) == 0
    store = SweepStore(tmp_path, "s")
    (take,) = store.plan()
    result = json.loads((store.folder / "takes" / take.id / "result.json").read_text())
    assert result["versions"]["precision"] == "bf16"
    assert [again.id for again in expand(file, ["workers.precision=null"]).takes] == [take.id]
