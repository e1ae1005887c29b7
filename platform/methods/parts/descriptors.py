"""Descriptors: one vector per frame, for comparing frames, kept on the host in one table.

A table copies vectors from the device asynchronously, and waits for the copy only when the table is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AVG_POOL = "avg-pool"
GRID = (4, 8)
"""Rows and columns of cells."""


class Descriptor(Protocol):
    """Latents [B, n, C, H, W] -> one vector per frame [B, n, E]."""

    def __call__(self, latents: Tensor) -> Tensor: ...


def avg_pool(latents: Tensor) -> Tensor:
    """Mean over the frame: [B, n, C, H, W] -> [B, n, C]."""
    return latents.mean(dim=(-2, -1))


def grid_pool(latents: Tensor) -> Tensor:
    """Mean of each cell of a grid over the frame: [B, n, C, H, W] -> [B, n, C x cells]. Latents of fewer rows or
    columns than the grid have a cell for each.

    It keeps where in the view something is, which the mean over the frame does not: two places with the same things in
    other positions differ."""
    from torch.nn.functional import adaptive_avg_pool2d

    cells = (min(GRID[0], latents.shape[-2]), min(GRID[1], latents.shape[-1]))
    return adaptive_avg_pool2d(latents.flatten(0, 1), cells).reshape(*latents.shape[:2], -1)


POOLS: dict[str, Descriptor] = {AVG_POOL: avg_pool, "grid-pool": grid_pool}
"""Descriptors that need no training."""


def described(descriptor: Descriptor, latents: Tensor) -> Tensor:
    """Descriptors of latents [B, n, C, H, W], computed in float32 on their device. Moves a network there."""
    import torch

    if isinstance(descriptor, torch.nn.Module):
        descriptor.to(latents.device)
    return descriptor(latents.float())


def unit_length(vectors: Tensor) -> Tensor:
    """[..., E] scaled to length 1; 1e-8 is added to the norm."""
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-8)


def most_redundant(unit_FE: Tensor) -> int:
    """Index of the vector of length 1 most similar on average to the one before and the one after it (at an end, to its
    only neighbour); the first of equals."""
    import torch

    after = (unit_FE[:-1] * unit_FE[1:]).sum(-1)
    both = torch.cat([after[:1], (after[:-1] + after[1:]) / 2, after[-1:]])
    return int(both.argmax())


class DescriptorTable:
    """Descriptors [B, F, E] of all finished frames, as they are and scaled to length 1, each in one tensor that doubles
    when it is full."""

    rows: Tensor
    scaled: Tensor

    def __init__(self) -> None:
        self.count = 0
        self.pending: tuple[Tensor, torch.cuda.Event] | None = None

    def append(self, vectors: Tensor) -> None:
        """Add [B, n, E], from any device."""
        self.receive()
        if vectors.device.type != "cuda":
            self.keep(vectors)
            return
        import torch

        host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        host.copy_(vectors, non_blocking=True)
        self.pending = host, torch.cuda.current_stream(vectors.device).record_event()

    def receive(self) -> None:
        """Wait for the copy in progress, if any, and add its vectors."""
        if self.pending is not None:
            host, arrived = self.pending
            self.pending = None
            arrived.synchronize()
            self.keep(host)

    def keep(self, vectors: Tensor) -> None:
        end = self.count + vectors.shape[1]
        if self.count == 0:
            self.rows, self.scaled = vectors.clone(), vectors.clone()
        elif end > self.rows.shape[1]:
            times = max(2, -(-end // self.rows.shape[1]))
            self.rows, self.scaled = self.rows.repeat(1, times, 1), self.scaled.repeat(1, times, 1)
        self.rows[:, self.count : end] = vectors
        self.scaled[:, self.count : end] = unit_length(vectors)
        self.count = end

    @property
    def all(self) -> Tensor:
        """[B, F, E]."""
        self.receive()
        return self.rows[:, : self.count]

    @property
    def unit(self) -> Tensor:
        """[B, F, E], each of length 1."""
        self.receive()
        return self.scaled[:, : self.count]
