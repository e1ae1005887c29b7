"""A real corpus on disk, of drawn numbers: short walks, so that neighbouring frames are alike."""

from pathlib import Path

import torch
from torch import Tensor

from longtake.platform.corpus import Corpus
from longtake.platform.corpus_writer import CorpusStore
from longtake.platform.takes import MethodSpec, Take

LATENT = (4, 2, 6)


def draw(index: int, frames: int) -> Tensor:
    """[frames, C, H, W]: a start, and a small step per frame."""
    generator = torch.Generator().manual_seed(index)
    return torch.randn((frames, *LATENT), generator=generator).mul_(0.3).cumsum(0)


def make_corpus(root: Path, name: str = "small", entries: int = 20, frames: int = 12) -> Path:
    """Returns the corpus' folder."""
    takes = [Take("none", MethodSpec("native", "native"), 3, frames, f"prompt {i}", 0) for i in range(entries)]
    store = CorpusStore(root, name, "float32", LATENT)
    with store.lock():
        shards = store.write_plan(f"name: {name}\nbackbone: none\ndtype: float32\n", takes, 6)
        latents = {take.id: draw(i, frames) for i, take in enumerate(takes)}
        store.write_index([store.commit(n, part, {t.id: latents[t.id] for t in part}) for n, part in enumerate(shards)])
    Corpus.open(store.folder)
    return store.folder
