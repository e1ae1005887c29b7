"""`longtake train embedder`: a lost worker or a killed driver costs no digit of the losses; what came of it is found by
sweeps through the registry; a bad corpus or config is one line."""

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient

from longtake.jobs.cli import execute
from longtake.jobs.embedder.train import EmbedderJob
from longtake.platform.checkpoints.files import read_json
from longtake.platform.settings import config as configs
from longtake.platform.store.training import TrainingFolder
from longtake.platform.weights.embedder_catalog import embedder_file
from tests.jobs.launch import Longtake
from tests.jobs.tiny import write_sweep
from tests.trainers.small_corpus import make_corpus

CONFIG = """
name: small
corpus: small
model: {latent_dim: 8, hidden_dims: [8, 16]}
loss: {delta_weight: 0.0, smooth_weight: 0.01}
steps: STEPS
batch_chunks: 8
validate_every: 10
checkpoint_every: 10
output: OUTPUT
tracking: {uri: disabled}
workers: {cluster: inline}
"""
POCKET = (48, 1, 8)
SHIPPED = sorted((Path(__file__).parents[3] / "jobs" / "training").glob("*embedder*.yaml"))


def write_config(folder: Path, steps: int = 20, latent: tuple[int, int, int] = (4, 2, 6)) -> Path:
    """A training config and the corpus that it names."""
    make_corpus(folder / "runs", latent=latent)
    path = folder / "train.yaml"
    path.write_text(CONFIG.replace("OUTPUT", str(folder / "runs")).replace("STEPS", str(steps)))
    return path


def train(config: Path, *overrides: str) -> int:
    return execute(["train", "embedder", str(config), *overrides])


def totals(config: Path, name: str = "small") -> list[float]:
    return [row["total"] for row in TrainingFolder(config.parent / "runs", name).steps()]


def wait_for_steps(folder: TrainingFolder, count: int) -> list[dict]:
    deadline = time.monotonic() + 600  # two workers take three minutes to start where ten processes share a core
    while len(folder.steps()) < count:
        assert time.monotonic() < deadline, "the training makes no steps"
        time.sleep(0.02)
    return folder.steps()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_made_the_embedder_of_its_name(path):
    job = configs.load(path, EmbedderJob)
    assert job.name == job.register.name == path.stem
    told = read_json(embedder_file(path.stem).with_suffix(".json"))
    assert told["training"] == {k: v for k, v in asdict(job.computed).items() if k != "corpus"}
    assert told["corpus"]["name"] == job.corpus


def test_crew_that_loses_a_worker_ends_with_the_same_losses(ray_local, tmp_path):
    config = write_config(tmp_path, steps=60)
    assert train(config, "name=alone") == 0
    assert train(config, "name=two", "workers={cluster: local, count: 2}") == 0

    folder = TrainingFolder(tmp_path / "runs", "shot")
    shot: list[int] = []

    def shoot() -> None:
        shot.append(int(wait_for_steps(folder, 15)[-1]["worker"].rpartition(":")[2]))
        os.kill(shot[0], signal.SIGKILL)

    shooter = threading.Thread(target=shoot)
    shooter.start()
    assert train(config, "name=shot", "workers={cluster: local, count: 2}") == 0
    shooter.join()
    assert shot

    assert totals(config, "shot") == totals(config, "two")
    assert len({row["worker"] for row in folder.steps()}) > 1
    assert folder.best.read_bytes() == TrainingFolder(tmp_path / "runs", "two").best.read_bytes()
    # One worker sums its chunks in another order than two do; the difference grows tenfold a step until about 1e-3.
    assert totals(config, "two")[:8] == pytest.approx(totals(config, "alone")[:8], abs=1e-4)


def test_zero_three_validates_with_uneven_shares(ray_local, tmp_path):
    """One held-out entry for two workers, and weights large enough that ZeRO 3 spreads them: it gathers them in every
    pass, so all workers must make as many."""
    config = write_config(tmp_path, steps=2)
    sizes = "model={latent_dim: 1024, hidden_dims: [8, 128]}"
    zero = ("zero_stage=3", "held_out=0.05", "workers={cluster: local, count: 2}")
    assert train(config, sizes, *zero) == 0
    assert train(config, sizes, "name=alone", "held_out=0.05") == 0
    two, alone = (TrainingFolder(tmp_path / "runs", name).validations()[-1]["total"] for name in ("small", "alone"))
    assert two == pytest.approx(alone, abs=1e-4)


def test_killed_driver_and_stopped_driver_resume(tmp_path):
    config = write_config(tmp_path, steps=400)
    assert train(config, "name=straight") == 0
    folder = TrainingFolder(tmp_path / "runs", "cut")
    command = ("train", "embedder", str(config), "name=cut")

    killed = Longtake(tmp_path, *command)
    wait_for_steps(folder, 25)
    killed.kill()
    killed.communicate()
    stopped = Longtake(tmp_path, *command)
    wait_for_steps(folder, 60)
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate()
    assert stopped.returncode == 75, err
    assert "resuming from its newest checkpoint, step" in out
    assert "steps are saved; run again to resume" in err
    assert train(config, "name=cut") == 0
    assert totals(config, "cut") == totals(config, "straight")


def test_registered_model_makes_takes_of_a_sweep(mlflow_db, tmp_path, capsys):
    config = write_config(tmp_path, latent=POCKET)
    tracking = f"tracking={{uri: '{mlflow_db}'}}"
    assert train(config, tracking) == 0
    assert "registered: models:/longtake-embedder/1" in capsys.readouterr().out

    client = MlflowClient(mlflow_db)
    experiment = client.get_experiment_by_name("train-embedder")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["loss.margin"] == "0.85"
    points = client.get_metric_history(run.info.run_id, "total")
    assert [point.value for point in points] == totals(config)
    assert {"held_out_total", "chunks_per_second", "waited_seconds", "rss_bytes"} <= run.data.metrics.keys()
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["checkpoints", "model"]

    sweep = write_sweep(tmp_path)
    methods = "methods=[{rag: {top_k: 4, recency_guard: 2, descriptor: 'models:/longtake-embedder@best'}}]"
    suites = ["lengths_s=[9]", tracking]
    assert execute(["run", str(sweep), methods, *suites]) == 0
    plan = [json.loads(line) for line in (tmp_path / "runs" / "small" / "plan.jsonl").read_text().splitlines()]
    marks = dict(plan[0]["fingerprint"])
    assert marks["method.descriptor.version"] == "longtake-embedder/1"
    facts = TrainingFolder(tmp_path / "runs", "small").validations()[-1]
    assert marks["method.descriptor"] == facts["sha256"]

    # another version moves the alias: the sweep's takes would be others, which it says
    assert train(config, tracking, "name=other", "seed=1") == 0
    capsys.readouterr()
    assert execute(["run", str(sweep), methods, *suites]) == 2
    told = capsys.readouterr().err
    assert "2 of 2 takes of the earlier plan are missing or changed" in told
    assert "fingerprint of method.descriptor " in told


def test_finished_training_is_not_trained_again(tmp_path, capsys):
    config = write_config(tmp_path)
    assert train(config) == 0
    before = totals(config)
    capsys.readouterr()
    assert train(config) == 0
    assert totals(config) == before
    assert "starting" not in capsys.readouterr().out


def test_resumed_training_is_logged_once(mlflow_db, tmp_path):
    """Of steps that are made again after a crash MLflow keeps what it has: one point each."""
    config = write_config(tmp_path)
    tracking = f"tracking={{uri: '{mlflow_db}'}}"
    assert train(config, tracking, "register.name=null") == 0
    folder = TrainingFolder(tmp_path / "runs", "small")
    (folder.checkpoints / "20.json").unlink()
    assert train(config, tracking, "register.name=null") == 0
    client = MlflowClient(mlflow_db)
    (run,) = client.search_runs([client.get_experiment_by_name("train-embedder").experiment_id])
    for name in ("total", "seconds"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == list(range(1, 21))
    assert [point.step for point in client.get_metric_history(run.info.run_id, "held_out_total")] == [10, 20]
    assert run.info.status == "FINISHED"


def test_alias_stays_with_the_newest_training(mlflow_db, tmp_path, capsys):
    """Asking for an older training again publishes it and moves nothing."""
    config = write_config(tmp_path)
    tracking = f"tracking={{uri: '{mlflow_db}'}}"
    for name in ("seed=1", "name=newer"):
        assert train(config, tracking, name) == 0
    assert train(config, tracking, "seed=1") == 0
    assert "registered: models:/longtake-embedder/1" in capsys.readouterr().out
    version = MlflowClient(mlflow_db).get_model_version_by_alias("longtake-embedder", "best").version
    assert str(version) == "2"


def test_end_is_told_from_any_folder(tmp_path, capsys, monkeypatch):
    config = write_config(tmp_path)
    assert train(config) == 0
    (tmp_path / "ru").mkdir()
    monkeypatch.chdir(tmp_path / "ru")
    assert train(config) == 0
    assert f"embedder: {tmp_path}/runs/training/small/best/embedder.safetensors" in capsys.readouterr().out.replace(
        "\n", ""
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("best/embedder.safetensors", "is missing, but the training has ended; remove"),
        ("steps.jsonl", "is missing, but the training has ended; remove"),
    ],
)
def test_what_is_gone_is_named_with_the_way_on(tmp_path, capsys, name, told):
    config = write_config(tmp_path)
    assert train(config) == 0
    folder = TrainingFolder(tmp_path / "runs", "small")
    (folder.folder / name).unlink()
    capsys.readouterr()
    assert train(config) == 5
    assert told in capsys.readouterr().err
    (folder.checkpoints / "20.json").unlink()
    assert train(config) == 0


@pytest.mark.parametrize("damage", ["folder", "file", "record"])
def test_checkpoint_that_cannot_be_read_is_named_with_the_way_on(tmp_path, capsys, damage):
    config = write_config(tmp_path)
    assert train(config) == 0
    straight = totals(config)
    folder = TrainingFolder(tmp_path / "runs", "small")
    assert train(config, "name=longer") == 0
    shutil.rmtree(folder.folder)
    (tmp_path / "runs" / "training" / "longer").rename(folder.folder)
    folder.best.unlink()  # as if it had not ended
    where = folder.checkpoints / "step-20"
    if damage == "folder":
        shutil.rmtree(where)
    elif damage == "file":
        for path in where.rglob("*.pt"):
            path.write_bytes(path.read_bytes()[:100])
    else:
        (folder.checkpoints / "20.json").write_text("{")
    text = config.read_text().replace("steps: 20", "steps: 30")
    (folder.folder / "config.yaml").unlink()
    config.write_text(text)
    capsys.readouterr()
    assert train(config) == 5
    err = capsys.readouterr().err
    assert "\n" not in err.strip()
    assert "20.json" in err
    (folder.checkpoints / "20.json").unlink()
    assert train(config) == 0
    assert totals(config)[:20] == straight


def refused(capsys, config: Path, *overrides: str) -> str:
    """The one line of a refusal."""
    assert train(config, *overrides) == 2
    err = capsys.readouterr().err.strip()
    assert "\n" not in err
    return err


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("corpus=nowhere", "no such folder"),
        ("batch_chunks=64", "batch_chunks 64 is more than the 18 training entries (2 of 20 are held out)"),
        ("chunk_frames=13", "has 12 frames, fewer than chunk_frames 13"),
        ("loss.margin=2", "loss.margin = 2"),
        ("optimizer=adam", "unknown key 'optimizer'"),
        ("workers={count: 3}", "batch_chunks = 8: must be a multiple of 3"),
        ("register.name=Best One", "is not a name"),
        ("register.alias=latest", "register.alias: 'latest' is reserved by MLflow"),
        ("workers.gpus_per_worker=0.5", "workers.gpus_per_worker: 0.5 is not 'auto', 0 or 1"),
        ("name=Bad Name", "is not a name"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, override, told):
    config = write_config(tmp_path)
    line = refused(capsys, config, override)
    assert told in line
    assert "train.yaml" in line


def test_another_config_under_the_name_is_refused(tmp_path, capsys):
    config = write_config(tmp_path)
    assert train(config) == 0
    capsys.readouterr()
    assert "was started with another config (seed: 42 -> seed: 1)" in refused(capsys, config, "seed=1")


def test_foreign_and_empty_corpora_are_refused(tmp_path, capsys):
    config = write_config(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    assert "is not a corpus" in refused(capsys, config, f"corpus={foreign}")
    index = tmp_path / "runs" / "corpora" / "small" / "index.jsonl"
    index.write_text("")
    assert "the corpus is empty" in refused(capsys, config)


def test_latents_that_are_no_numbers_end_it_with_their_place(tmp_path, capsys):
    config = write_config(tmp_path)
    for shard in (tmp_path / "runs" / "corpora" / "small" / "shards").glob("*.safetensors"):
        data = bytearray(shard.read_bytes())
        nan = torch.tensor([float("nan")]).numpy().tobytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for at in range(start, len(data), 4):
            data[at : at + 4] = nan
        shard.write_bytes(bytes(data))
    assert train(config) == 5
    err = capsys.readouterr().err
    assert ".safetensors" in err
    assert "not finite" in err
