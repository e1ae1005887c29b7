"""A pocket training is a function of its config: resumed it ends with the same bits, and other configs are refused."""

from copy import copy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from longtake.jobs.pocket import config_text
from longtake.platform.backbones.pocket import Pocket, pocket_network
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.settings.config import dump
from longtake.platform.store.training import TrainingFolder
from longtake.trainers.muon import Muon, orthogonalise
from longtake.trainers.own_context import OwnContext
from longtake.trainers.pocket import PocketConfig, PocketTraining, adopt_early_state, learning_rate
from longtake.trainers.pocket_clips import make_scenes, walk, wrap

TINY = PocketConfig(name="tiny", steps=4, streets=8, clips=1, frames=12, checkpoint_every=2, memory=True)
OWN = replace(TINY, own_context=OwnContext("pocket"))


@pytest.fixture(scope="module")
def streets():
    torch.set_num_threads(1)
    return make_scenes(TINY.streets, lambda done: None)


@pytest.fixture
def folder(tmp_path):
    folder = TrainingFolder(tmp_path, "tiny")
    with folder.lock():
        yield folder


def straight(streets, tmp_path, config=TINY):
    """An undisturbed training and its losses."""
    whole = TrainingFolder(tmp_path / "whole", "tiny")
    with whole.lock():
        training = PocketTraining(config, streets, whole)
        return training, [report.loss for report in training.run()]


@pytest.mark.parametrize("config", [TINY, OWN], ids=["true context", "own context"])
def test_resumed_training_ends_with_the_same_bits(streets, folder, tmp_path, config):
    whole, losses = straight(streets, tmp_path, config)
    run = PocketTraining(config, streets, folder).run()
    first = [next(run).loss for _ in range(3)]  # the checkpoint is that of step 2
    folder.checkpoint(3).mkdir()  # a crash while the next one was saved
    again = PocketTraining(config, streets, folder)
    rest = [report.loss for report in again.run()]

    assert again.cpu_before > 0
    assert first[:2] + rest == losses
    assert all(torch.equal(again.average[key], value) for key, value in whole.average.items())
    assert folder.recorded() == [2, 4]
    assert not folder.checkpoint(3).exists()


def test_seeds_differ_in_weights_and_in_data(streets, tmp_path):
    losses, weights = [], []
    for seed in (0, 1):
        folder = TrainingFolder(tmp_path / str(seed), "tiny")
        with folder.lock():
            training = PocketTraining(replace(TINY, seed=seed), streets, folder)
            weights.append(training.network.blocks[0].ffn[0].weight.detach().clone())
            losses.append(next(training.run()).loss)
    assert not torch.equal(*weights)
    assert losses[0] != losses[1]


def test_training_with_its_own_context_starts_from_the_shipped_weights(streets, folder):
    network = PocketTraining(OWN, streets, folder).network
    shipped = load_file(Pocket.weights_file())
    assert all(torch.equal(value, shipped[key].float()) for key, value in network.state_dict().items())


def test_a_training_of_an_earlier_version_keeps_its_config(folder):
    """Their config.yaml has no own_context."""
    folder.keep_config("".join(line for line in dump(TINY).splitlines(True) if "own_context" not in line))
    folder.keep_config(config_text(TINY))
    with pytest.raises(ConfigError, match="was started with another config"):
        folder.keep_config(config_text(OWN))


def test_a_state_of_the_earlier_layout_goes_on_with_the_same_bits(streets, folder, tmp_path):
    """Earlier versions kept one file in the training's folder, with the config in it."""
    whole, losses = straight(streets, tmp_path)
    before = TrainingFolder(tmp_path / "before", "tiny")
    with before.lock():
        run = PocketTraining(TINY, streets, before).run()
        next(run), next(run), next(run)  # the checkpoint is that of step 2
    state = torch.load(before.checkpoint(2) / "state.pt", weights_only=True)
    facts = {key: value for key, value in asdict(TINY).items() if key != "own_context"}
    torch.save(state | {"config": facts}, folder.early_state)
    with pytest.raises(ConfigError, match=r"state\.pt: was made by another config"):
        adopt_early_state(PocketConfig(name="tiny", steps=5), folder)
    assert folder.early_state.is_file()

    adopt_early_state(TINY, folder)
    again = PocketTraining(TINY, streets, folder)
    assert again.step == 2
    assert [report.loss for report in again.run()] == losses[2:]
    assert all(torch.equal(again.average[key], value) for key, value in whole.average.items())
    assert not folder.early_state.exists()


def test_a_damaged_checkpoint_says_how_to_go_on(streets, folder):
    list(PocketTraining(TINY, streets, folder).run())
    (folder.checkpoint(4) / "state.pt").write_bytes(b"cut short")
    with pytest.raises(StorageError, match=r"step-4: cannot be read .* remove .*/4\.json to resume from step 2"):
        PocketTraining(TINY, streets, folder)
    folder.checkpoint_record(4).unlink()
    assert PocketTraining(TINY, streets, folder).step == 2


def test_a_training_that_outlived_its_run_saves_nothing(streets, tmp_path):
    first = TrainingFolder(tmp_path, "tiny")
    with first.lock():
        outlived = PocketTraining(TINY, streets, copy(first))
    with first.lock():
        with pytest.raises(StorageError, match=r"a newer run holds the training \(epoch 2, ours 1\)"):
            list(outlived.run())
        assert first.recorded() == []


def test_export_is_small_tells_its_origin_and_is_what_was_measured(streets, folder, monkeypatch):
    training = PocketTraining(TINY, streets, folder)
    path = training.export()
    assert path == folder.weights
    assert path.stat().st_size <= 1_500_000
    with safe_open(path, "pt") as file:
        assert '"seed": 0' in file.metadata()["config"]
        assert file.get_tensor("head.head.weight").dtype == torch.int8
    monkeypatch.setattr("longtake.platform.backbones.pocket.WEIGHTS", path.parent)
    loaded, measured = pocket_network(path.stem).state_dict(), training.averaged().state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in measured.items())


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("clips", 0), ("frames", 10), ("frames", 3)])
def test_bad_numbers_name_themselves(field, value):
    with pytest.raises(ConfigError, match=f"{field} = {value}"):
        PocketConfig(**{"name": "x", field: value})


def test_learning_rate_by_hand():
    """Warm-up over 50 steps, constant to 40 %, half a cosine to 0: half the peak at 70 %."""
    config = PocketConfig(name="x", steps=1000, lr=1.0)
    assert learning_rate(config, 24) == pytest.approx(0.5)
    assert learning_rate(config, 400) == 1.0
    assert learning_rate(config, 700) == pytest.approx(0.5)
    assert learning_rate(config, 1000) == pytest.approx(0.0)


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 48, 16), (1, 16, 48)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_muon_lowers_a_quadratic():
    target = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    optimiser = Muon([weight], lr=0.05, weight_decay=0.0)
    for _ in range(200):
        loss = (weight - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.02 * float(target.square().mean())


def test_walks_move_one_column_and_turn_only_between_blocks():
    camera = walk(np.random.default_rng(0), 48)
    steps = np.diff(camera)
    assert set(np.unique(steps)) == {-1, 1}
    inside = steps.reshape(-1)[[i for i in range(47) if i % 3 != 2]]
    pairs = inside[: len(inside) // 2 * 2].reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_wrap_goes_the_short_way_round():
    assert wrap(np.array([0, 47, 48, 95, -49])).tolist() == [0, 47, -48, -1, 47]
