"""`longtake corpus`: one entry per prompt however it is made, killed and made again; imports; bad input in one line."""

import json
import math
import os
import random
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from longtake.jobs.cli import execute
from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.shipped import CORPORA, SWEEPS
from longtake.platform.corpus.reader import Corpus, read_shard, record_file, shard_file
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import MATERIALS, SKIES
from tests.jobs import tiny
from tests.jobs.launch import Longtake

SHIPPED = sorted(CORPORA.glob("*.yaml"))
WORDS = [f"{sky}, {thing}" for sky in ("dusk", "noon") for thing in ("stone", "glass")]
PROMPTS = [f"{words}; pan right 3 s, left {step} s, repeat" for words in WORDS for step in (3, 6, 9)]
SPEC = f"""
name: few
backbone: tiny
seconds: 6
prefix_s: 1.5
dtype: float16
shard_takes: 5
prompts: {json.dumps(PROMPTS)}
output: OUTPUT
workers: {{cluster: inline, batch: 2}}
"""


def write_spec(folder: Path, text: str = SPEC) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / "few.yaml"
    path.write_text(text.replace("OUTPUT", str(folder / "runs")))
    return str(path)


def folder_of(folder: Path, name: str = "few") -> Path:
    return folder / "runs" / "corpora" / name


def facts(folder: Path) -> tuple[bytes, list[str], str]:
    """The index, each shard's sha256, and the digest."""
    corpus = Corpus.open(folder)
    records = [read_shard(folder, number) for number in range(len(list(folder.glob("shards/[0-9]*.json"))))]
    return (folder / "index.jsonl").read_bytes(), [r.sha256 for r in records if r], corpus.digest


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that nothing disturbed."""
    folder = tmp_path_factory.mktemp("calm")
    assert execute(["corpus", write_spec(folder)]) == 0
    return folder_of(folder)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_spec_loads(path: Path) -> None:
    plan = corpus_spec.expand(path)
    assert plan.spec.name == path.stem
    assert len({take.id for take in plan.takes}) == 512
    assert {(take.latent_frames, take.prefix_frames) for take in plan.takes} == {(90, 0)}


def test_the_pool_is_of_every_pair_and_none_of_the_sweeps() -> None:
    lines = (CORPORA / "prompts" / "pocket-pool.txt").read_text().splitlines()
    pool, sweep = lines[1:], (SWEEPS / "prompts" / "pocket.txt").read_text().splitlines()
    assert lines[0].startswith("#")
    assert len(set(pool)) == 512
    assert not set(pool) & set(sweep)
    told = [parse(text) for text in pool]
    assert {(one.sky, one.material) for one in told} == {(sky, thing) for sky in SKIES for thing in MATERIALS}
    assert {frames // 3 for one in told for _, frames in one.segments} == set(range(1, 11))
    assert {one.repeat for one in told} == {True, False}


def test_latents_are_those_of_the_sampler_in_the_order_of_the_prompts(calm: Path) -> None:
    from longtake.platform.generation.sampler import Sampler

    corpus = Corpus.open(calm)
    assert [entry.prompt for entry in corpus.entries] == PROMPTS
    assert [entry.shard for entry in corpus.entries] == [0] * 5 + [1] * 5 + [2] * 2
    assert (corpus.backbone, corpus.latent, corpus.dtype) == ("tiny", (48, 1, 8), torch.float16)
    take = corpus_spec.expand(calm.parent.parent.parent / "few.yaml").takes[6]
    alone = torch.cat([block.latents for block in Sampler("tiny").generate(take)])
    assert len(alone) == 24
    assert corpus.entries[6].take_id == take.id
    assert corpus.frames(6, 0, 24).equal(alone.half())
    assert corpus.frames(6, 0, 6).equal(tiny.Tiny(None).prefix_latents(take.prompt, 0, 6).half())  # type: ignore[arg-type]


def test_running_again_makes_nothing_and_verify_finds_no_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, folder = write_spec(tmp_path), folder_of(tmp_path)
    assert execute(["corpus", spec]) == 0
    out = capfd.readouterr().out
    assert "12 entries, 288 latent frames of 48 x 1 x 8 float16" in out
    assert str(folder) in out
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("shards/*")}
    assert execute(["corpus", spec]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("shards/*")} == stamps
    assert execute(["corpus", spec, "--verify"]) == 0
    path = shard_file(folder, 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    capfd.readouterr()
    assert execute(["corpus", spec, "--verify"]) == 1
    assert f"remove {record_file(folder, 1)} and run again" in capfd.readouterr().out
    record_file(folder, 1).unlink()
    assert execute(["corpus", spec]) == 0
    assert execute(["corpus", spec, "--verify"]) == 0


def start(spec: str) -> Longtake:
    return Longtake(Path(spec).parent, "corpus", spec)


def wait_for(folder: Path, pattern: str, count: int, process: Longtake) -> None:
    """Until so many files are there, or the process has ended."""
    while process.poll() is None and len(list(folder.glob(pattern))) < count:
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_driver_resumes_to_one_entry_per_prompt(tmp_path: Path, calm: Path) -> None:
    """Killed as soon as there is anything of a shard, after the first shard and after the second."""
    spec, folder, chance = write_spec(tmp_path), folder_of(tmp_path), random.Random(20261)
    done, codes = dict[Path, int](), list[int]()
    for pattern, count in (("shards/*", 1), ("shards/*.json", 1), ("shards/*.json", 2)):
        process = start(spec)
        wait_for(folder, pattern, count, process)
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.communicate()
        codes.append(process.returncode)
        done |= {path: path.stat().st_mtime_ns for path in folder.glob("shards/[0-9]*.json") if path not in done}
    assert codes[:2] == [-signal.SIGKILL] * 2
    last = start(spec)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, (out, err)
    assert facts(folder) == facts(calm)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert list(folder.rglob(".tmp-*")) == []


@pytest.mark.slow
def test_a_signal_ends_with_75_and_the_same_command_resumes(tmp_path: Path, calm: Path) -> None:
    spec, folder = write_spec(tmp_path), folder_of(tmp_path)
    process = start(spec)
    wait_for(folder, "shards/*.json", 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "of 12 takes made; run again to resume" in err
    assert execute(["corpus", spec]) == 0
    assert facts(folder) == facts(calm)


@pytest.mark.usefixtures("ray_local")
@pytest.mark.parametrize("actors", [1, 2])
def test_actors_change_no_bit(tmp_path: Path, calm: Path, actors: int) -> None:
    words = [f"workers={{cluster: local, samplers: {actors}, batch: 5}}"]
    assert execute(["corpus", write_spec(tmp_path), *words]) == 0
    assert facts(folder_of(tmp_path)) == facts(calm)


@pytest.mark.usefixtures("ray_local")
def test_a_killed_sampler_is_replaced_and_its_shard_made_again(
    tmp_path: Path, calm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A thread kills the first of this process' workers that it sees at work on a shard."""
    killed: list[int] = []

    def kill_one() -> None:
        while not killed:
            for process in psutil.Process().children(recursive=True):
                try:
                    at_work = "Shell.run" in " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if at_work:
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    assert execute(["corpus", write_spec(tmp_path), "workers={cluster: local, samplers: 1, batch: 1}"]) == 0
    assert killed
    assert "tried again after WorkerDied" in capfd.readouterr().out
    assert facts(folder_of(tmp_path)) == facts(calm)


def test_a_take_that_diverges_is_left_out_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prompts = ["dusk, stone; pan right 3 s", "dusk, brick; pan right 3 s", "noon, stone; pan right 3 s"]
    words = ["corpus", write_spec(tmp_path), "backbone=tiny-wild", f"prompts={json.dumps(prompts)}"]
    for _ in range(2):
        assert execute(words) == 3
        out = capfd.readouterr().out
        # 1.5 s of the true street are 6 latent frames, so frame 6 is the first that was made
        assert "left out: 'dusk, brick; pan right 3 s'" in out
        assert "latent frame 6 holds numbers that are not finite in float16" in out
    assert [entry.prompt for entry in Corpus.open(folder_of(tmp_path)).entries] == [prompts[0], prompts[2]]


def test_a_shard_that_fails_three_times_is_set_aside_and_the_others_are_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prompts = ["dusk, brick; pan right 3 s", "noon, stone; pan right 3 s"]
    words = ["corpus", write_spec(tmp_path), "backbone=tiny-broken", "shard_takes=1", f"prompts={json.dumps(prompts)}"]
    assert execute(words) == 3
    out = capfd.readouterr().out
    assert out.count("tried again after RuntimeError: no bricks") == 2
    assert "failed: shard 0: RuntimeError: no bricks" in out
    assert "the index was not written; run again" in out
    assert [path.name for path in folder_of(tmp_path).glob("shards/[0-9]*.json")] == ["00001.json"]
    assert not (folder_of(tmp_path) / "index.jsonl").exists()


def test_an_added_prompt_extends_and_a_changed_one_is_refused(
    tmp_path: Path, calm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, new = write_spec(tmp_path), "dawn, timber; pan left 3 s"
    assert execute(["corpus", spec]) == 0
    assert execute(["corpus", spec, f"prompts={json.dumps([new, *PROMPTS])}"]) == 0
    entries = Corpus.open(folder_of(tmp_path)).entries
    assert [(entry.prompt, entry.shard) for entry in entries][-2:] == [(PROMPTS[-1], 2), (new, 3)]
    assert facts(folder_of(tmp_path))[1][:3] == facts(calm)[1]
    assert execute(["corpus", spec, f"prompts={json.dumps([new, *PROMPTS[1:]])}"]) == 2
    assert "1 of 13 takes of the earlier plan are missing or changed" in capfd.readouterr().err


# Imports


def publish(folder: Path, count: int = 3, frames: int = 6) -> list[torch.Tensor]:
    """Latents as the authors publish them, but fewer frames."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    latents = [torch.randn(frames, 16, 60, 104, generator=generator).bfloat16() for _ in range(count)]
    for number, value in enumerate(latents):
        torch.save(value, folder / f"latent_{number:06}.pt")
    return latents


def import_spec(folder: Path) -> str:
    text = f"name: theirs\nlatents: {folder / 'theirs'}\nshard_takes: 2\noutput: OUTPUT\nworkers: {{cluster: inline}}\n"
    return write_spec(folder, text)


def test_published_latents_are_imported_bit_for_bit_and_once(tmp_path: Path) -> None:
    latents, spec = publish(tmp_path / "theirs"), import_spec(tmp_path)
    assert execute(["corpus", spec]) == 0
    corpus = Corpus.open(folder_of(tmp_path, "theirs"))
    assert (corpus.backbone, corpus.latent, corpus.dtype) == ("imported", (16, 60, 104), torch.bfloat16)
    assert [entry.prompt for entry in corpus.entries] == [f"latent_00000{n}.pt" for n in range(3)]
    for number, value in enumerate(latents):
        assert corpus.frames(number, 0, 6).equal(value)
    torch.save(latents[0] + 1, tmp_path / "theirs" / "latent_000003.pt")
    assert execute(["corpus", spec]) == 0
    assert [entry.shard for entry in Corpus.open(corpus.folder).entries] == [0, 0, 1, 2]


def test_an_imported_file_that_is_not_finite_is_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    latents, spec = publish(tmp_path / "theirs"), import_spec(tmp_path)
    latents[1][4, 0, 0, 0] = math.nan
    torch.save(latents[1], tmp_path / "theirs" / "latent_000001.pt")
    assert execute(["corpus", spec]) == 3
    assert "left out: 'latent_000001.pt'" in (out := capfd.readouterr().out)
    assert "latent frame 4 holds numbers that are not finite in bfloat16" in out


BAD_FILES = [
    (torch.zeros(6, 16, 60, 52).bfloat16(), "has frames [16, 60, 52], but latent_000000.pt has [16, 60, 104]"),
    (torch.zeros(16, 60, 104), "contains [16, 60, 104] torch.float32; must be floats [T, C, H, W]"),
    (torch.zeros(6, 16, 60, 104, dtype=torch.uint8), "torch.uint8; must be floats"),
    (torch.zeros(0, 16, 60, 104), "must be floats [T, C, H, W]"),
    ({"latents": torch.zeros(1)}, "contains dict"),
    (Path("x"), "asks for pathlib"),
    (None, "cannot be read as a checkpoint"),
]


@pytest.mark.parametrize(("value", "line"), BAD_FILES, ids=[line[:30] for _, line in BAD_FILES])
def test_a_file_that_is_no_latents_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], value: object, line: str
) -> None:
    publish(tmp_path / "theirs")
    path = tmp_path / "theirs" / "latent_000001.pt"
    torch.save(value, path) if value is not None else path.write_bytes(b"PK\x03\x04 cut short")
    assert execute(["corpus", import_spec(tmp_path)]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"longtake: {path}: ")
    assert line in err
    assert err.count("\n") == 1


BAD = [
    ("backbone=tinny", "did you mean 'tiny'"),
    ("backbone=null", "backbone: is missing; set backbone, or latents"),
    ("dtype=bf32", "dtype: unknown type 'bf32'; known: bf16, float16, float32"),
    ("shard_takes=0", "shard_takes: 0 is not from 1 to 4096"),
    ("prefix_s=6", "prefix_s: 6 of 6 s leave nothing to generate"),
    ("method=[native]", "method: ['native'] is not one method"),
    ("method={rag: {topk: 2}}", "did you mean 'top_k'"),
    ("prompts=null", "prompts: None is not a list or a mapping"),
    ("prompts=[x]", "prompt 1: pocket prompt 'x'"),
    ("latents=nowhere", "latents: a folder of latent_*.pt has no prompts"),
    ("name=models", "name: 'models' is reserved"),
    ("seeds=[1]", "did you mean 'seed'"),
]


@pytest.mark.parametrize(("override", "line"), BAD, ids=[override for override, _ in BAD])
def test_a_bad_spec_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], override: str, line: str) -> None:
    spec = write_spec(tmp_path)
    assert execute(["corpus", spec, override]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"longtake: {spec}: ")
    assert line in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("make", "line"), [(False, "is not a folder"), (True, "contains no latent_*.pt")])
def test_a_folder_without_latents_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: bool, line: str
) -> None:
    if make:
        (tmp_path / "theirs").mkdir()
    assert execute(["corpus", import_spec(tmp_path)]) == 2
    assert f"{tmp_path / 'theirs'} {line}" in capfd.readouterr().err
