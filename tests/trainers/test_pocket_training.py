"""A pocket training is a function of its config: resumed it ends with the same bits, and other configs are refused."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from longtake.platform.errors import ConfigError
from longtake.trainers.muon import Muon, orthogonalise
from longtake.trainers.pocket import PocketConfig, PocketTraining, learning_rate
from longtake.trainers.pocket_clips import make_streets, walk, wrap

TINY = PocketConfig(name="tiny", steps=4, streets=8, clips=1, frames=12, checkpoint_every=2, memory=True)


@pytest.fixture(scope="module")
def streets():
    torch.set_num_threads(1)
    return make_streets(TINY.streets, lambda done: None)


def test_resumed_training_ends_with_the_same_bits(streets, tmp_path):
    straight = PocketTraining(TINY, streets, tmp_path)
    losses = [report.loss for report in straight.run()]

    folder = tmp_path / "cut"
    folder.mkdir()
    cut = PocketTraining(TINY, streets, folder)
    run = cut.run()
    first = [next(run).loss for _ in range(3)]  # the state on disk is that of step 2
    again = PocketTraining(TINY, streets, folder)
    rest = [report.loss for report in again.run()]

    assert again.cpu_before > 0
    assert first[:2] + rest == losses
    assert all(torch.equal(again.average[key], value) for key, value in straight.average.items())


def test_another_config_is_refused(streets, tmp_path):
    list(PocketTraining(TINY, streets, tmp_path).run())
    with pytest.raises(ConfigError, match="made by another config"):
        PocketTraining(PocketConfig(name="tiny", steps=5, streets=8, clips=1, frames=12), streets, tmp_path)


def test_export_fits_and_tells_its_origin(streets, tmp_path):
    training = PocketTraining(TINY, streets, tmp_path)
    path = training.export()
    assert path.stat().st_size <= 4_000_000
    with safe_open(path, "pt") as file:
        assert '"seed": 0' in file.metadata()["config"]
        assert file.get_tensor("head.head.weight").dtype == torch.float16


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
