"""The suite vbench-long with weights that are there: which ones they are is part of every score."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.metrics.colour import ChromaNoise
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.models.published import published_shapes
from longtake.jobs.cli import execute
from longtake.jobs.workers.scoring import Scorer, with_weights
from longtake.platform.checkpoints.files import sha256
from longtake.platform.errors import SetupError, WeightsError
from longtake.platform.store.sweep import SweepStore
from longtake.platform.weights import manifest as manifests
from tests.parity.seeded import published

GOLDEN = Path(__file__).parents[2] / "golden" / "vbench" / "scores.json"
SUITE = ["--suite", "vbench-long", "--set", "dimensions=[motion_smoothness, temporal_flickering]"]


def write_weights(root: Path, factor: float = 1.0) -> None:
    """AMT's artefact as `longtake weights pull` leaves it, with the seeded weights of the golden scores."""
    folder = root / "amt-s"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = published("amt-s", published_shapes("amt-s"))
    file = folder / "metric.safetensors"
    save_file({name: tensor * factor for name, tensor in tensors.items()}, file)
    manifest = manifests.Manifest("amt-s", "made for a test", None, None, "here")
    manifests.write(folder, manifest.with_file(file.name, manifests.record(file, sha256(file))))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    write_weights(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def folder(tmp_path: Path, golden_video: Callable[[str], Path]) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(golden_video("pocket"), videos)
    return videos


def scores(out: Path) -> dict:
    return json.loads(out.read_text())["videos"]["pocket.mp4"]["clips"]["motion_smoothness"]


@pytest.mark.parametrize("protocol", ["direct", "exact"])
def test_a_folder_is_scored_with_the_weights_that_are_there_as_officially(
    weights: Path, folder: Path, tmp_path: Path, protocol: str
) -> None:
    out = tmp_path / "scores.json"
    assert execute(["eval", str(folder), *SUITE, "--set", f"protocol={protocol}", "--out", str(out)]) == 0
    official = json.loads(GOLDEN.read_text())[protocol]["pocket"]["scores"]
    assert scores(out) == pytest.approx(official["motion_smoothness"], abs=1e-6)
    versions = json.loads(out.read_text())["versions"]
    assert len(versions["weights.amt-s"]) == 64
    assert json.loads(versions["settings"])["protocol"] == protocol


def test_other_weights_score_again_and_what_needs_none_is_kept(weights: Path, folder: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "scores.json", tmp_path / "cache"
    words = ["eval", str(folder), *SUITE, "--out", str(out), "--cache", str(cache)]
    assert execute(words) == 0
    before, kept = scores(out), len(list(cache.rglob("*.json")))
    write_weights(weights, factor=0.9)
    assert execute(words) == 0
    assert scores(out) != before
    assert len(list(cache.rglob("*.json"))) == kept + 1  # motion alone; flickering and cuts have no weights


def test_a_worker_with_other_weights_than_were_planned_scores_nothing(weights: Path, folder: Path) -> None:
    planned = with_weights(SuiteEntry("vbench-long", "vbench-long", {"dimensions": ["motion_smoothness"]}))
    assert set(planned.weights) == {"amt-s"}
    elsewhere = replace(planned, weights={"amt-s": "0" * 64})
    with pytest.raises(WeightsError, match="differ from those of the sweep"):
        Scorer("cpu", None).score(folder / "pocket.mp4", [elsewhere])


def test_weights_that_are_pulled_before_the_network_is_loaded_score_nothing(weights: Path) -> None:
    planned = with_weights(SuiteEntry("vbench-long", "vbench-long", {"dimensions": ["motion_smoothness"]}))
    Scorer("cpu", None).check(planned)
    pool = ModelPool("cpu", planned=dict(planned.weights))
    write_weights(weights, factor=0.9)
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"the weights amt-s on node .* differ from those of the sweep's plan"):
            pool.network("amt")
    write_weights(weights)
    assert pool.network("amt") is pool.network("amt")


def test_metrics_of_another_version_score_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's stamp travels with the suite; a node computes its own."""
    sent = pickle.dumps(SuiteEntry("classical", "classical"))
    here = pickle.loads(sent)
    Scorer("cpu", None).check(here)
    assert pickle.loads(pickle.dumps(here)).planned == here.planned == SuiteEntry("classical", "classical").stamp
    monkeypatch.setattr(ChromaNoise, "version", ChromaNoise.version + 1)
    said = r"suites.classical: metric.chroma_noise is chroma_noise-2 on node .*, but the sweep was planned with chroma"
    with pytest.raises(SetupError, match=said):
        Scorer("cpu", None).check(pickle.loads(sent))


def test_evaluators_with_other_packages_score_nothing(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "small")
    with store.lock():
        store.first_of_run("evaluators-classical", {"av": "1.0", "opencv": "1.0", "numpy": "1.0", "node": "gpu7"})
        with pytest.raises(SetupError, match=r"evaluators-classical: av is .* on node .*, but 1\.0 on node gpu7"):
            Scorer("cpu", None, store).check(SuiteEntry("classical", "classical"))


def test_weights_that_changed_on_disk_are_refused(
    weights: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = weights / "amt-s" / "metric.safetensors"
    file.write_bytes(file.read_bytes() + b"x")
    assert execute(["eval", str(folder), *SUITE]) == 2
    assert "longtake weights verify amt-s" in capsys.readouterr().err
