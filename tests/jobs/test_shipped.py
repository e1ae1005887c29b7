"""The shipped sweeps, corpora and trainings are found by name from every folder; a user's own file comes first."""

from pathlib import Path

import pytest

from longtake.jobs import shipped
from longtake.jobs.cli import execute
from longtake.platform.errors import ConfigError


@pytest.mark.parametrize("folder", [shipped.SWEEPS, shipped.CORPORA, shipped.TRAININGS], ids=lambda folder: folder.name)
def test_every_shipped_file_is_found_by_its_name_and_by_the_path_of_the_documentation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.names(folder)
    for name in shipped.names(folder):
        for given in (name, f"{name}.yaml", f"{folder.name}/{name}.yaml", f"jobs/{folder.name}/{name}.yaml"):
            assert shipped.find(folder, Path(given)) == folder / f"{name}.yaml"


def test_a_file_of_the_user_comes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text("name: mine")
    (tmp_path / "bank").mkdir()
    assert shipped.find(shipped.SWEEPS, Path("demo.yaml")) == Path("demo.yaml")
    assert shipped.find(shipped.SWEEPS, Path("bank")) == shipped.SWEEPS / "bank.yaml"


def test_another_path_is_never_replaced_by_a_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("name: own")
    for given, said in (
        ("mine/demo.yaml", "did you mean 'demo'? known: bank, changes, demo"),
        (str(tmp_path / "demo.yaml"), "none that ships"),
        ("demi", "did you mean 'demo'"),
        ("own", "give own.yaml, which exists"),
    ):
        with pytest.raises(ConfigError, match="no such file") as raised:
            shipped.find(shipped.SWEEPS, Path(given))
        assert said in str(raised.value)


def test_plan_finds_a_sweep_and_its_prompts_outside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["plan", "demo"]) == 0
    assert "= 128 takes" in capfd.readouterr().out


def test_the_grid_of_the_paper_is_planned_before_anything_is_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """3 backbones x 3 methods x 4 lengths x 128 prompts. Running it names the command that pulls the prompts."""
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert execute(["plan", "longlive-rag"]) == 0
    out = capfd.readouterr().out
    assert "to do: make 4608 takes" in out
    assert "note: 128 prompts are assumed: prompts.file: no " in out
    assert execute(["plan", "longlive-rag", "prompts.limit=2"]) == 0
    assert "note: 2 prompts are assumed" in capfd.readouterr().out
    assert execute(["run", "longlive-rag"]) == 2
    assert "run longtake weights pull moviegen-prompts" in capfd.readouterr().err
