"""A training is a function of its config and its corpus: DeepSpeed's steps are the golden ones, and neither parts of a
batch, nor ZeRO stages, nor an interruption change its losses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.platform.checkpoints.files import load_safetensors
from longtake.platform.corpus.reader import Corpus
from longtake.platform.errors import ConfigError, LongtakeError, StorageError
from longtake.platform.models.embedder import LatentAutoencoder
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.store.training import TrainingFolder
from longtake.platform.weights.embedder_catalog import load_embedder
from longtake.platform.workers.group import RankContext, run_single_rank, single_rank
from longtake.trainers.embedder import EmbedderTraining, EmbedderWork, LossModule, build_engine
from longtake.trainers.embedder_config import EmbedderConfig, ModelConfig
from longtake.trainers.losses import LossConfig
from tests.trainers.small_corpus import make_corpus

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG = EmbedderConfig(
    name="t",
    corpus="small",
    model=ModelConfig(8, [8, 16]),
    steps=12,
    batch_chunks=8,
    validate_every=5,
    checkpoint_every=5,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    torch.set_num_threads(1)
    return make_corpus(tmp_path_factory.mktemp("corpora"))


def run(config: EmbedderConfig, corpus: Path, output: Path) -> TrainingFolder:
    folder = TrainingFolder(output, config.name)
    with folder.lock():
        run_single_rank(EmbedderWork(config, corpus, folder))
    return folder


def totals(folder: TrainingFolder) -> list[float]:
    return [row["total"] for row in folder.steps()]


def test_deepspeed_takes_the_golden_steps():
    """Losses before each of five AdamW(3e-4, weight decay 1e-4) updates with total-norm clip 1.0, recorded from the
    published implementation."""
    facts = json.loads((GOLDEN / "ae_losses.json").read_text())
    tensors = load_safetensors(GOLDEN / "ae_losses.safetensors")
    sizes = facts["config"]
    embedder = LatentAutoencoder(EmbedderSpec(**sizes | {"hidden_dims": tuple(sizes["hidden_dims"])}))
    embedder.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")})
    chunk = tensors["chunk_drift"]
    single_rank()
    config = replace(CONFIG, batch_chunks=len(chunk), model=ModelConfig(sizes["latent_dim"], sizes["hidden_dims"]))
    engine = build_engine(LossModule(embedder, LossConfig()), config, 1)
    for golden in facts["adamw"]["trajectory"]:
        parts = engine(chunk)
        assert [float(part.detach()) for part in (parts.total, *parts)] == pytest.approx(golden, abs=5e-5)
        engine.backward(parts.total)
        engine.step()


@pytest.mark.parametrize(
    ("precision", "stage"), [("float32", 0), ("float32", 1), ("float32", 2), ("float32", 3), ("bf16", 1)]
)
def test_resumed_training_repeats_its_losses(corpus, tmp_path, precision, stage):
    config = replace(CONFIG, precision=precision, zero_stage=stage)
    folder = run(config, corpus, tmp_path)
    straight, validations, best = totals(folder), folder.validations(), folder.best.read_bytes()
    assert len(straight) == 12
    assert folder.recorded() == [10, 12]
    assert [row["step"] for row in validations] == [5, 10, 12]

    (folder.checkpoints / "12.json").unlink()  # as if killed before the last one counted
    run(config, corpus, tmp_path)
    assert totals(folder) == straight
    assert folder.validations() == validations
    assert folder.best.read_bytes() == best


def test_stages_and_parts_of_a_batch_change_nothing(corpus, tmp_path):
    """Without the delta term: where embeddings still point one way, its gradient is made of rounding alone."""
    calm = replace(CONFIG, loss=LossConfig(delta_weight=0.0))
    plain = totals(run(calm, corpus, tmp_path))
    for name, other in {
        "parts": replace(calm, accumulation=4),
        "two": replace(calm, zero_stage=2),
        "three": replace(calm, zero_stage=3),
    }.items():
        # sums in another order: a few units of the sixth digit after twelve steps
        assert totals(run(replace(other, name=name), corpus, tmp_path)) == pytest.approx(plain, abs=1e-4)


def test_the_best_embedder_is_the_one_of_its_validation(corpus, tmp_path):
    folder = run(CONFIG, corpus, tmp_path)
    facts = json.loads(folder.best.with_suffix(".json").read_text())
    best = min(folder.validations(), key=lambda row: row["total"])
    assert facts["step"] == best["step"]
    assert facts["corpus"]["sha256"] == Corpus.open(corpus).digest
    assert facts["training"]["loss"]["margin"] == 0.85
    model = load_embedder(folder.best)
    assert (model.spec.in_channels, model.spec.spatial_h, model.spec.spatial_w) == (4, 2, 6)


def test_a_stop_saves_and_the_rest_follows(corpus, tmp_path):
    straight = totals(run(CONFIG, corpus, tmp_path))
    config = replace(CONFIG, name="stopped")
    folder = TrainingFolder(tmp_path, config.name)
    with folder.lock():
        folder.ask_to_stop()
        run_single_rank(EmbedderWork(config, corpus, folder))
        assert folder.recorded() == [1]
        folder.clear_stop()
        run_single_rank(EmbedderWork(config, corpus, folder))
    assert totals(folder) == straight


def test_zero_is_not_read_by_another_crew(corpus, tmp_path):
    """Of a ZeRO optimiser each worker has its part; without ZeRO all have all, and any crew may go on."""
    config = replace(CONFIG, zero_stage=1)
    folder = run(config, corpus, tmp_path)
    record = {"step": 12, "workers": 2, "zero_stage": 1}
    folder.record_checkpoint(record)
    with pytest.raises(ConfigError, match=r"saved by 2 workers with zero_stage 1, which 1 cannot read; use 2 workers"):
        EmbedderTraining(config, Corpus.open(corpus), folder, RankContext(0, 1))


def test_a_worker_that_was_replaced_writes_no_more(corpus, tmp_path):
    folder = TrainingFolder(tmp_path, "t")
    with folder.lock():
        (folder.folder / ".epoch").write_text("7\n")
        with pytest.raises(StorageError, match="a newer run holds the training"):
            run_single_rank(EmbedderWork(CONFIG, corpus, folder))
        assert folder.steps() == []


def test_validation_without_a_number_ends_the_training(corpus, tmp_path):
    with pytest.raises(LongtakeError, match=r"step 1: the loss is "):
        run(replace(CONFIG, name="wild", lr=1e20, steps=1), corpus, tmp_path)


def test_a_loss_that_is_no_number_ends_the_training(corpus, tmp_path):
    with pytest.raises(LongtakeError, match=r"step \d+: the loss is .*; lower lr \(now 1e\+20\)"):
        run(replace(CONFIG, name="wild", lr=1e20), corpus, tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 0}, "steps = 0: must be 1 or more"),
        ({"lr": 0.0}, "lr = 0: must be more than 0"),
        ({"chunk_frames": 1}, "chunk_frames = 1"),
        ({"held_out": 1.0}, "held_out = 1: must be between 0 and 1"),
        ({"precision": "int8"}, "precision = 'int8': must be float32, bf16, fp16"),
        ({"zero_stage": 4}, "zero_stage = 4"),
        ({"precision": "bf16"}, "zero_stage = 0: with bf16"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_bad_numbers_name_themselves(change, told):
    with pytest.raises(ConfigError) as caught:
        replace(CONFIG, **change)
    assert told in str(caught.value)


def test_a_batch_is_shared_out_evenly():
    """8 chunks by 2 workers in 2 parts are 2 at a time; 3 workers cannot share 8."""
    assert replace(CONFIG, accumulation=2).micro_batch(2) == 2
    with pytest.raises(ConfigError, match="must be a multiple of 3"):
        CONFIG.micro_batch(3)
