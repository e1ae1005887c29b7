"""Sweep files: every shipped one loads, every broken one is one line that names the file, the key and the rule."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from longtake.jobs.shipped import SWEEPS
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.prompts import read_prompts
from longtake.jobs.sweep.resolve import rounded_frames
from longtake.platform.errors import ConfigError
from longtake.platform.tracking.addresses import without_password
from longtake.platform.weights.catalog import ARTEFACTS, select
from tests.jobs import tiny

SHIPPED = sorted(SWEEPS.glob("*.yaml"))


def test_the_earlier_name_of_a_key_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nbackbones: [pocket]\nmethods: [native]\nlengths_s: [30]\nprompts: [a]\nstart_s: 12\n")
    assert sweeps.load(file).prefix_s == 12
    with pytest.raises(ConfigError, match="start_s: is the earlier name of 'prefix_s', which is also set"):
        sweeps.load(file, ["prefix_s=6"])


@pytest.mark.usefixtures("wan_weights")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_sweep_loads_and_names_what_exists(path: Path) -> None:
    from longtake.platform.backbones.base import backbones
    from longtake.platform.methods.base import methods

    sweep = sweeps.load(path)
    for backbone in sweep.backbones:
        assert backbones.get(backbone).spec.name == backbone
    assert all(methods.get(entry.name) for entry in sweep.method_entries())
    assert all(entry.open() for entry in sweep.suite_entries())
    for prompt in read_prompts(sweep.prompts, path):
        for text in prompt.texts:
            backbones.get(sweep.backbones[0]).check_prompt(text)


def needed_weights(sweep: sweeps.SweepConfig) -> set[str]:
    """The published artefacts that the sweep reads."""
    from longtake.platform.backbones.base import backbones

    names = {name for backbone in sweep.backbones for name in backbones.get(backbone).artefacts().values()}
    names |= {name for entry in sweep.suite_entries() for one in entry.metrics.values() for name in one.artefacts()}
    names |= {str(entry.params.get("descriptor")) for entry in sweep.method_entries()}
    if isinstance(sweep.prompts, dict):
        names.add(sweep.prompts["file"].partition("/")[0])
    return names & ARTEFACTS.keys()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_pull_line_of_a_shipped_sweep_gets_all_that_it_reads(path: Path) -> None:
    needed, readme = needed_weights(sweeps.load(path)), Path(__file__).parents[3] / "README.md"
    for text in (path.read_text(), readme.read_text()) if needed else ():
        line = next(line for line in text.splitlines() if "longtake weights pull" in line)
        pulled = {one.name for one in select(line.partition("weights pull ")[2].split())}
        assert needed - pulled == set()


def test_the_grid_is_the_product_and_lengths_are_whole_blocks(tmp_path: Path) -> None:
    path = tiny.write_sweep(tmp_path)
    grid = expand(path, ["lengths_s=[3, 7]", "seeds=[0, 5]"])
    assert len(grid.takes) == 1 * 2 * 2 * 2 * 2
    assert len({take.id for take in grid.takes}) == 16
    # 3 s are 12 latent frames, 4 whole blocks; 7 s are 28, rounded up to 30 = 7.5 s
    assert sorted({(take.seconds, take.latent_frames) for take in grid.takes}) == [(3, 12), (7, 30)]
    assert len(grid.notes) == 1
    assert "7 s" in grid.notes[0]
    assert "7.5 s (30 latent frames)" in grid.notes[0]


@pytest.mark.parametrize("seconds", [30, 60, 120, 240])
def test_the_usual_lengths_need_no_rounding(seconds: int) -> None:
    notes: list[str] = []
    assert rounded_frames("lengths_s", seconds, tiny.Tiny.spec, notes) == seconds * 4
    assert notes == []


def test_a_method_is_resolved_with_its_defaults_and_keeps_its_label(tmp_path: Path) -> None:
    path = tiny.write_sweep(tmp_path)
    grid = expand(path, ["methods=[{rag: {top_k: 3}, as: rag-k3}, rag]"])
    specs = {take.method.label: take.method for take in grid.takes}
    assert specs["rag-k3"].params["top_k"] == 3
    assert specs["rag-k3"].params["descriptor"] == specs["rag"].params["descriptor"] == "avg-pool"
    assert specs["rag-k3"].name == "rag"


def test_only_a_version_above_1_of_a_method_is_part_of_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.platform.methods.base import methods
    from longtake.platform.methods.native import Native

    @dataclass(frozen=True)
    class Second(Native):
        version: ClassVar[int] = 2

    def ids(kind: type[Native]) -> dict[str, str]:
        monkeypatch.setitem(methods._items, "native", kind)
        takes = expand(path, ["methods=[native]"]).takes
        assert {key: value for key, value in takes[0].fingerprint if key.startswith("method.")} == (
            {"method.version": "2"} if kind is Second else {}
        )
        return {f"{take.seconds} {take.prompt}": take.id for take in takes}

    path = tiny.write_sweep(tmp_path)
    first, second = ids(Native), ids(Second)
    # from before methods had versions: the id of 3 s of the first prompt
    assert first["3 dusk, brick; pan right 3 s, left 3 s, repeat"] == "c85f82babd0aed0f"
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())
    assert ids(Native) == first


def test_start_seconds_become_given_latent_frames(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), ["prefix_s=1.5"])
    assert {take.prefix_frames for take in grid.takes} == {6}


def test_the_resolved_sweep_reads_back_and_keeps_no_password(tmp_path: Path) -> None:
    path = tiny.write_sweep(tmp_path)
    grid = expand(path, ["tracking.uri='https://me:secret@mlflow.example/x'"])
    assert "secret" not in grid.config_yaml
    again = tmp_path / "again.yaml"
    again.write_text(grid.config_yaml)
    assert [take.id for take in expand(again).takes] == [take.id for take in grid.takes]
    assert without_password("https://me:secret@host/x?y=@") == "https://host/x"
    assert without_password("postgresql://u:p/w@host/db") == "postgresql://host/db"
    assert without_password("sqlite:////a@b/c") == "sqlite:////a@b/c"


BAD = [
    ("name=Bad", "name", "'Bad'"),
    ("backbone=[x]", "backbone", "did you mean 'backbones'"),
    ("backbones=[tinny]", "backbones", "did you mean 'tiny'"),
    ("backbones=[]", "backbones", "empty"),
    ("methods=[ragg]", "methods", "did you mean 'rag'"),
    ("methods=[{rag: {topk: 3}}]", "methods.rag", "did you mean 'top_k'"),
    ("methods=[{rag: {top_k: many}}]", "methods.rag", "top_k"),
    ("methods=[{rag: {top_k: 99}}]", "methods.rag", "at most"),
    ("methods=[{rag: {descriptor: none.safetensors}}]", "methods.rag", "none.safetensors"),
    ("methods=[rag, {rag: {top_k: 3}}]", "methods", "twice"),
    ("methods=[{rag: {descriptor: none.safetensors}}]", "methods.rag", "none.safetensors"),
    ("methods=[rag, {rag: {}, as: other}]", "methods", "same"),
    ("methods=[{rag: {}, native: {}}]", "methods[0]", "not one method"),
    ("methods=[{rag: {}, as: ../x}]", "methods[0].as", "not a name"),
    ("lengths_s=[0]", "lengths_s", "1 to 3600"),
    ("lengths_s=[thirty]", "lengths_s", "thirty"),
    ("lengths_s=[3, 3]", "lengths_s", "twice"),
    ("seeds=[-1]", "seeds", "0 to"),
    ("suites=[classica]", "suites", "did you mean 'classical'"),
    ("prompts=[]", "prompts", "list of prompts"),
    ("prompts={file: none.txt}", "prompts.file", "none.txt"),
    ("prompts={fil: none.txt}", "prompts.fil", "did you mean 'file'"),
    ("prompts=['dusk, brick; jump']", "prompt 1", "dusk"),
    ("output='s3://bucket/x'", "output", "URL"),
    ("prefix_s=3", "prefix_s", "nothing"),
    ("workers.samplers=0", "workers.samplers", "whole number"),
    ("workers.gpus_per_sampler=-1", "workers.gpus_per_sampler", "0 to 64"),
    ("workers.stall_seconds=0", "workers.stall_seconds", "'auto' or a number from 1 to 86400"),
    ("workers.stall_seconds=true", "workers.stall_seconds", "'auto' or a number from 1 to 86400"),
    ("workers.drain_seconds=-1", "workers.drain_seconds", "not a number from 0 to 86400"),
    ("workers.sampler=2", "workers.sampler", "did you mean 'samplers'"),
    ("tracking.url=x", "tracking.url", "did you mean 'uri'"),
    ("nothing", "nothing", "key=value"),
]


@pytest.mark.parametrize(("override", "key", "rule"), BAD, ids=[bad[0] for bad in BAD])
def test_a_bad_value_is_one_line_with_file_key_and_rule(tmp_path: Path, override: str, key: str, rule: str) -> None:
    path = tiny.write_sweep(tmp_path)
    with pytest.raises(ConfigError) as caught:
        expand(path, [override])
    message = str(caught.value)
    assert message.startswith(str(path))
    assert key in message
    assert rule in message
    assert "\n" not in message
