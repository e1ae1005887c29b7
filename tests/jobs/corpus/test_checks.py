"""A corpus is sampled with the embedder that it was planned with, and with the packages of the first sampler."""

import json
from pathlib import Path

import pytest

from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.corpus.latents import LatentWorker, Sampled, ShardItem
from longtake.jobs.corpus.spec import CorpusPlan
from longtake.platform.corpus.writer import CorpusStore
from longtake.platform.errors import SetupError, WeightsError
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.resources import Resources
from longtake.platform.models.embedder import fresh_embedder, save_embedder
from longtake.platform.models.spec import EmbedderSpec
from tests.jobs import tiny

SPEC = f"""
name: few
backbone: {tiny.Tiny.spec.name}
seconds: 3
shard_takes: 1
prompts: ["dusk, stone; pan right 3 s", "noon, stone; pan right 3 s"]
workers: {{cluster: inline}}
"""


def planned(folder: Path, method: str = "native") -> tuple[CorpusPlan, CorpusStore]:
    (folder / "few.yaml").write_text(f"{SPEC}method: {method}\noutput: {folder / 'runs'}\n")
    plan = corpus_spec.expand(folder / "few.yaml")
    return plan, CorpusStore(folder / "runs", "few", plan.spec.dtype, plan.latent)


def worker_of(store: CorpusStore) -> LatentWorker:
    return LatentWorker(store, Sampled(store, Resources(), 1))


def make(worker: LatentWorker, plan: CorpusPlan, number: int) -> None:
    worker.run(ShardItem(number, [plan.takes[number]]), lambda report: None)


def test_a_sampler_with_another_torch_makes_no_shard(tmp_path: Path) -> None:
    plan, store = planned(tmp_path)
    with store.lock():
        store.write_plan(plan.spec_yaml, plan.takes, 1)
        make(worker_of(store), plan, 0)
        (first,) = store.folder.glob(".tmp-samplers*")
        first.write_text(json.dumps(json.loads(first.read_text()) | {"torch": "1.0", "node": "gpu7"}))
        with pytest.raises(SetupError, match=r"torch is .*, but 1\.0 on node gpu7, where this run began"):
            make(worker_of(store), plan, 1)
        assert store.record(1, [plan.takes[1]]) is None
        store.sweep_leftovers()
        assert not first.exists()


def test_an_embedder_that_is_replaced_before_a_method_loads_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods load their embedder with the first block, after the check before it."""
    file, spec = tmp_path / "embedder.safetensors", EmbedderSpec(48, 1, 8, 8, (8,))
    save_embedder(fresh_embedder(spec, seed=1), file, {})
    plan, store = planned(tmp_path, f"{{rag: {{top_k: 2, recency_guard: 2, descriptor: {file}}}}}")
    generate = Sampler.generate_together

    def replaced_meanwhile(self: Sampler, *arguments: object) -> object:
        save_embedder(fresh_embedder(spec, seed=2), file, {})
        return generate(self, *arguments)  # type: ignore[arg-type]

    with store.lock():
        store.write_plan(plan.spec_yaml, plan.takes, 1)
        worker = worker_of(store)
        make(worker, plan, 0)
        monkeypatch.setattr(Sampler, "generate_together", replaced_meanwhile)
        with pytest.raises(WeightsError, match=r"method\.descriptor is sha256"):
            make(worker, plan, 1)
        assert store.record(1, [plan.takes[1]]) is None
