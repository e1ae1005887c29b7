"""LongLive at its own sizes with random weights, as in `longtake bench sampler`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gpu.setting import DEVICE, sized

if TYPE_CHECKING:
    from longtake.jobs.bench.options import BenchOptions
    from longtake.platform.generation.sampler import Sampler

SHRINK = 48
"""Divides the sizes of a smoke run: one head, one layer, latents of 2 x 2."""


def options(compiled: bool = False, host_gib: float | None = None, precision: str | None = None) -> BenchOptions:
    """Options that make takes of the stand-in. `loaded` makes its sampler."""
    from longtake.jobs.bench.options import BenchOptions

    shrink = sized(1, SHRINK)
    return BenchOptions(shrink=shrink, device=DEVICE.type, compile=compiled, host_gib=host_gib, precision=precision)


def loaded(chosen: BenchOptions) -> Sampler:
    """A sampler with these options and weights drawn from seed 0."""
    import torch

    from longtake.jobs.bench.stand_in import stand_in
    from longtake.platform.generation.sampler import Sampler
    from longtake.platform.machine.process import set_up_computing

    set_up_computing()
    torch.manual_seed(0)
    stand_in(chosen)
    return Sampler(chosen.name, chosen.resources)
