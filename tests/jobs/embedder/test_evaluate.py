"""`longtake train eval-embedder`: the files it leaves, the run in MLflow, and one line for every mistake."""

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.embedder.candidates import label_of, resolve
from longtake.jobs.embedder.options import EmbedderEvalOptions
from longtake.platform.models.embedder import fresh_embedder, save_embedder
from longtake.platform.models.spec import EmbedderSpec

POCKET = EmbedderSpec(48, 1, 8, latent_dim=16, hidden_dims=(64, 64))
FILES = {
    *("eval.json", "recall.csv", "similarity.csv"),
    *("similarity_distance.png", "similarity_shared.png", "recall.png", "coverage_time.png"),
}


def embedder(folder: Path, spec: EmbedderSpec = POCKET, bias: float = 0.0) -> str:
    model = fresh_embedder(spec, seed=3)
    model.encoder.fc.bias.data.fill_(bias)
    folder.mkdir()
    save_embedder(model, folder / "embedder.safetensors", {})
    return str(folder)


def command(*words: str, tracking: str = "disabled") -> list[str]:
    small = ["--limit", "2", "--seconds", "36", "--tracking", tracking]
    return ["train", "eval-embedder", *small, *words]


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    err = capfd.readouterr().err
    assert err.startswith("longtake: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.slow
def test_it_leaves_numbers_and_figures_and_the_same_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = command(f"mine={embedder(tmp_path / 'e')}", "--output", str(tmp_path / "runs"))
    assert execute(words) == 0
    out = capfd.readouterr().out
    assert "mine" in out
    assert "coverage" in out
    (folder,) = (tmp_path / "runs" / "embedders").iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert execute(words) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    report = json.loads((folder / "eval.json").read_text())
    assert list(report["config"]["descriptors"]) == ["mine", "avg-pool", "untrained", "random", "oracle"]
    assert report["config"]["latent_frames"] == 144
    hashes = {label: one["sha256"] for label, one in report["config"]["descriptors"].items()}
    assert [label for label, digest in hashes.items() if digest is None] == ["avg-pool", "random", "oracle"]
    assert hashes["mine"] != hashes["untrained"]

    rows = {
        (row["descriptor"], row["measure"]): row
        for row in csv.DictReader((folder / "recall.csv").read_text().splitlines())
        if (row["from_s"], row["to_s"]) == ("0.0", "36.0")
    }
    # a still world: whoever compares frames finds the copies; the oracle alone is told what comes next
    assert [rows[label, "strict_recall"]["mean"] for label in ("mine", "avg-pool", "untrained")] == ["1.0"] * 3
    assert rows["oracle", "coverage"]["mean"] == "1.0"
    assert float(rows["random", "coverage"]["mean"]) > float(rows["avg-pool", "coverage"]["mean"])
    assert rows["avg-pool", "recall"]["difference_mean"] == ""
    assert float(rows["mine", "local_redundancy"]["difference_mean"]) < 0


@pytest.mark.slow
def test_the_folder_follows_the_question_and_not_the_name(tmp_path: Path) -> None:
    """The same weights elsewhere are the same question; other noise is another."""
    first = embedder(tmp_path / "e")
    shutil.copytree(first, tmp_path / "f")
    output = ["--output", str(tmp_path / "runs")]
    for words in ([f"a={first}"], [f"a={tmp_path / 'f'}"]):
        assert execute(command(*words, *output)) == 0
    before = list((tmp_path / "runs" / "embedders").iterdir())
    assert len(before) == 1
    assert execute(command(f"a={first}", "--noise", "0.2", "--base", "a", *output)) == 0
    (other,) = [path for path in (tmp_path / "runs" / "embedders").iterdir() if path not in before]
    rows = json.loads((other / "eval.json").read_text())["measures"]
    assert {row["descriptor"] for row in rows if row["difference"] is None and row["measure"] == "recall"} == {"a"}


def test_publishing_twice_changes_nothing(tmp_path: Path, mlflow_db: str) -> None:
    words = command("avg-pool", "--out", str(tmp_path / "eval"), "--output", str(tmp_path), tracking=mlflow_db)

    def rows() -> dict[str, list[tuple[object, ...]]]:
        tables = ("experiments", "runs", "metrics", "params", "tags", "latest_metrics")
        with sqlite3.connect(mlflow_db.removeprefix("sqlite:///")) as database:
            return {table: sorted(database.execute(f"select * from {table}"), key=repr) for table in tables}

    assert execute(words) == 0
    before = rows()
    assert execute(words) == 0
    assert rows() == before
    assert len(before["runs"]) == 1
    with sqlite3.connect(mlflow_db.removeprefix("sqlite:///")) as database:
        told = dict(database.execute("select key, value from metrics"))
        kept = dict(database.execute("select key, value from params"))
    report = json.loads((tmp_path / "eval" / "eval.json").read_text())
    whole = [row for row in report["measures"] if (row["from_s"], row["to_s"]) == (0.0, report["config"]["seconds"])]
    means = {f"{row['descriptor']}/{row['measure']}": row["mean"] for row in whole}
    assert told == {name: pytest.approx(means[name]) for name in told}
    assert {"avg-pool/recall", "avg-pool/coverage"} <= told.keys()
    assert len(told) <= 20
    assert (kept["top_k"], kept["descriptor.avg-pool"]) == ("6", "avg-pool")
    artifacts = {path.name for path in (tmp_path / "tracking" / "mlartifacts").rglob("*") if path.is_file()}
    assert artifacts == FILES


@pytest.mark.slow
def test_without_mlflow_the_files_are_there_and_the_code_is_3(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    assert execute(command("avg-pool", "--out", str(tmp_path / "eval"), tracking=uri)) == 3
    assert (tmp_path / "eval" / "eval.json").is_file()


def test_mistakes_are_one_line_and_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wan = embedder(tmp_path / "wan", EmbedderSpec(16, 6, 10, latent_dim=8, hidden_dims=(8,)))
    prompts = {"empty": "# none\n\n", "strange": "dusk, brick; pan right 6 s\na cat\n"}
    for name, text in prompts.items():
        (tmp_path / name).write_text(text)
    for words, told in (
        (["avg-pol"], "descriptor avg-pol: is not an embedder"),
        ([wan], "made for latents (16, 6, 10), the backbone's are (48, 1, 8)"),
        ([embedder(tmp_path / "nan", bias=float("nan"))], "encoder.fc.bias holds numbers that are not finite"),
        ([embedder(tmp_path / "huge", bias=3e38)], "huge: is zero, NaN or infinite"),
        (["oracle=avg-pool"], "oracle is the name of a control"),
        ([f"a={wan}", "a=avg-pool"], "two descriptors have the same name"),
        (["models:/longtake-embedder@best"], "needs a tracking store"),
        (["--prompts", str(tmp_path / "empty")], "has no prompts"),
        (["--prompts", str(tmp_path / "strange")], "prompt 2: pocket prompt 'a cat'"),
        (["--prompts", str(tmp_path / "gone")], "no such file; give"),
        (["--base", "avg-pol"], "--base avg-pol: is not measured; did you mean 'avg-pool'"),
        (["--limit", "0"], "'--limit': Input should be greater than or equal to 1"),
        (["--top-k", "9"], "top_k = 9: must be at most 8"),
        (["--top-k", "0"], "'--top-k': Input should be greater than or equal to 1"),
        (["--seconds", "3"], "no frame is ever eligible"),
        (["--seconds", "nan"], "'--seconds': Input should be less than or equal to 3600"),
        (["--recency-guard", "1000"], "no frame is ever eligible"),
        (["--seed", "1000000"], "the training used seeds from 1000000 on"),
        (["--noise", "-1"], "'--noise': Input should be greater than or equal to 0"),
        (["--backbone", "self-forcing"], "has no known camera"),
        (["--backbone", "pockt"], "eval-embedder: backbones: "),
    ):
        assert execute(command(*words, "--output", str(tmp_path / "runs"))) == 2, words
        assert told in one_line(capfd), words
    assert not list(tmp_path.glob("runs/embedders/*"))


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert execute(command("avg-pool", "--out", str(tmp_path / "file" / "eval"), "--seconds", "3600")) == 5
    assert "cannot make the folder" in one_line(capfd)


def test_a_label_is_what_tells_descriptors_apart() -> None:
    assert label_of("runs/training/pocket-embedder/best/embedder.safetensors") == "pocket-embedder"
    assert label_of("somewhere/Large One.safetensors") == "large-one"
    assert label_of("oracle/embedder.safetensors") == "oracle-embedder"
    options = EmbedderEvalOptions((), tracking="disabled")
    assert resolve("avg-pool", options) == ("avg-pool", "avg-pool", "avg-pool")
    assert resolve("mine=runs/a=b", options) == ("mine", "runs/a=b", "runs/a=b")
    assert resolve("runs/a=b", options) == ("a-b", "runs/a=b", "runs/a=b")
