"""A real corpus on disk, of drawn numbers: short walks, so that neighbouring frames are alike."""

from pathlib import Path

import torch
from torch import Tensor

from longtake.platform.corpus.reader import Corpus
from longtake.platform.corpus.writer import CorpusStore
from longtake.platform.takes import MethodSpec, Take

Latent = tuple[int, int, int]
LATENT: Latent = (4, 2, 6)


def draw(index: int, frames: int, latent: Latent) -> Tensor:
    """[frames, C, H, W]: a start, and a small step per frame."""
    generator = torch.Generator().manual_seed(index)
    return torch.randn((frames, *latent), generator=generator).mul_(0.3).cumsum(0)


def make_corpus(root: Path, entries: int = 20, frames: int = 12, latent: Latent = LATENT) -> Path:
    """Returns the corpus' folder."""
    takes = [Take("none", MethodSpec("native", "native"), 3, frames, f"prompt {i}", 0) for i in range(entries)]
    store = CorpusStore(root, "small", "float32", latent)
    with store.lock():
        shards = store.write_plan("name: small\nbackbone: none\ndtype: float32\n", takes, 6)
        latents = {take.id: draw(i, frames, latent) for i, take in enumerate(takes)}
        store.write_index([store.commit(n, part, {t.id: latents[t.id] for t in part}) for n, part in enumerate(shards)])
    Corpus.open(store.folder)
    return store.folder
