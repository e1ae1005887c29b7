"""An embedding is read back exactly, or not at all: damage, other makers and missing files are told apart from it."""

import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from longtake.platform.errors import StorageError
from longtake.platform.store.text_cache import TextCache

ENCODER, OTHER = "ab" * 32, "cd" * 32


def embedding(seed: int = 0, rows: int = 5) -> Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.fixture
def texts(tmp_path: Path) -> TextCache:
    return TextCache(tmp_path / "texts")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_was_put_comes_back_bit_by_bit(texts: TextCache, dtype: torch.dtype) -> None:
    assert not texts.has(ENCODER, "dusk")
    path = texts.put(ENCODER, "dusk", embedding().to(dtype))
    found = texts.get(ENCODER, "dusk")
    assert found.dtype == dtype
    assert torch.equal(found, embedding().to(dtype))
    assert path.parent.name == ENCODER[:16]
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_encoders_and_prompts_do_not_meet(texts: TextCache) -> None:
    keys = [(ENCODER, "dusk"), (ENCODER, "dusk "), (ENCODER, "dämmerung"), (OTHER, "dusk")]
    for seed, key in enumerate(keys):
        texts.put(*key, embedding(seed))
    for seed, key in enumerate(keys):
        assert torch.equal(texts.get(*key), embedding(seed))


def test_a_missing_one_names_file_and_prompt(texts: TextCache) -> None:
    with pytest.raises(StorageError, match=r"[0-9a-f]{32}\.safetensors: no embedding of prompt 'dusk'"):
        texts.get(ENCODER, "dusk")


def test_the_first_one_stays(texts: TextCache) -> None:
    texts.put(ENCODER, "dusk", embedding(1))
    texts.put(ENCODER, "dusk", embedding(2))
    assert torch.equal(texts.get(ENCODER, "dusk"), embedding(1))


def test_no_flipped_bit_passes(texts: TextCache) -> None:
    path = texts.put(ENCODER, "dusk", embedding(rows=1))
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        assert not texts.has(ENCODER, "dusk"), place
    path.write_bytes(whole)
    assert texts.has(ENCODER, "dusk")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_cut_file_is_refused_and_made_again(texts: TextCache, kept: int) -> None:
    path = texts.put(ENCODER, "dusk", embedding())
    path.write_bytes(path.read_bytes()[:kept])
    assert not texts.has(ENCODER, "dusk")
    with pytest.raises(StorageError, match=r"is damaged; run again"):
        texts.get(ENCODER, "dusk")
    texts.put(ENCODER, "dusk", embedding())
    assert torch.equal(texts.get(ENCODER, "dusk"), embedding())


def test_files_of_something_else_are_refused(texts: TextCache) -> None:
    path, other = texts.path(ENCODER, "dusk"), texts.put(OTHER, "dusk", embedding())
    path.parent.mkdir()
    path.write_bytes(other.read_bytes())  # another encoder's, whole
    assert not texts.has(ENCODER, "dusk")
    with safe_open(other, "pt") as file:
        metadata = file.metadata() | {"encoder": ENCODER}
    save_file({"text": embedding()}, path, metadata | {"format": "0"})  # an older format
    assert not texts.has(ENCODER, "dusk")
    save_file({"latents": embedding()}, path)
    assert not texts.has(ENCODER, "dusk")
    save_file({"text": embedding()}, path, metadata)
    assert texts.has(ENCODER, "dusk")


def test_writers_at_once_leave_one_whole_file(texts: TextCache) -> None:
    threads = [threading.Thread(target=texts.put, args=(ENCODER, "dusk", embedding(seed))) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(torch.equal(texts.get(ENCODER, "dusk"), embedding(seed)) for seed in range(8))
    assert len(list(texts.path(ENCODER, "dusk").parent.iterdir())) == 1


def test_a_file_in_the_way_is_one_line(texts: TextCache) -> None:
    texts.folder.write_text("in the way")
    with pytest.raises(StorageError, match="texts"):
        texts.put(ENCODER, "dusk", embedding())
