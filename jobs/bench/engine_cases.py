"""What `longtake bench engine` runs: every registered context method with its default parameters, over random weights.

A method that needs a known camera is left out, since random weights have no world. `native` is always there: the
other methods are compared with it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError
from longtake.platform.generation.bank.tier import Tier
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.rollout import Rollout
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.base import FrameSize, MethodConfig, RolloutInfo, Window, methods
from longtake.platform.methods.rag import Rag
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

SPEC = DiTSpec(
    dim=384,
    ffn_dim=1536,
    heads=6,
    layers=6,
    channels=16,
    latent_height=8,
    latent_width=12,
    text_len=64,
    text_dim=256,
)
SMALL = replace(SPEC, dim=32, ffn_dim=32, heads=2, layers=2, latent_height=4, latent_width=8, text_len=2, text_dim=4)
"""A network that costs next to nothing, so that what the methods themselves cost shows."""
WINDOW = Window(12, 1, 3)
REFERENCE = "native"


@dataclass(frozen=True)
class Case:
    """A row of the bench: a method, and whether its bank is on disk."""

    label: str
    config: MethodConfig
    on_disk: bool = False

    @property
    def grows(self) -> bool:
        """Whether the method attends every frame so far, so that its cost must grow."""
        return self.config.attended(self.config.window_in(WINDOW), SPEC) is None

    def tiers(self) -> list[Tier]:
        capacity = BankCapacity(host_gib=0, disk=tempfile.gettempdir()) if self.on_disk else BankCapacity()
        return build_tiers(capacity, torch.device("cpu"))


STORED = {
    "rag": (
        Case("rag, bf16 bank", Rag(bank_dtype="bf16")),
        Case("rag, fp8 bank on disk", Rag(bank_dtype="fp8"), on_disk=True),
    )
}
"""More rows of a method: its bank in fewer bits, or on disk."""


def cases_of(names: Sequence[str] | None = None) -> list[Case]:
    """The rows of these methods (default: all that can run here), `native` first. Raises ConfigError for an unknown
    name, and for a method that was named and cannot run here."""
    for name in names or ():
        if methods.get(name).needs_camera:
            raise ConfigError(f"--methods {name}: it needs a known camera, and random weights have none; leave it out")
    known = [name for name in methods.names() if name not in without_camera()] if names is None else names
    chosen = dict.fromkeys([REFERENCE, *(methods.names_of(name)[0] for name in known)])
    return [case for name in chosen for case in (Case(name, methods.get(name)()), *STORED.get(name, ()))]


def without_camera() -> list[str]:
    """The methods that cannot run here."""
    return [name for name in methods.names() if methods.get(name).needs_camera]


class SeededNoise:
    """Standard normal noise [1, n, C, H, W] with a new generator per call."""

    def __init__(self, spec: DiTSpec):
        self.shape = (1, WINDOW.block, spec.channels, spec.latent_height, spec.latent_width)

    def initial(self, block: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(block))

    def renoise(self, block: int, step: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(1_000_000 * (step + 1) + block))


def random_network(spec: DiTSpec) -> CausalDiT:
    torch.manual_seed(0)
    return CausalDiT(spec).lay_out().eval().requires_grad_(False)


def start(case: Case, network: CausalDiT, frames: int) -> Rollout:
    """A rollout of the case, set up like a take of so many latent frames."""
    spec, config = network.spec, case.config
    window = config.window_in(WINDOW)
    config.check(window, (spec.channels, spec.latent_height, spec.latent_width))
    size = FrameSize(spec.frame_kv_values, network.dtype.itemsize, spec.frame_kv_scales)
    text = torch.randn(1, spec.text_len, spec.text_dim, generator=torch.Generator().manual_seed(0))
    return Rollout(
        network,
        FlowSchedule(),
        config.build(RolloutInfo(window, 1, (0,), frame=size, network=spec)),
        text,
        SeededNoise(spec),
        keep_evicted=config.keeps_evicted,
        bank_dtype=torch_dtype(config.bank_dtype) if config.bank_dtype else None,
        tiers=case.tiers(),
        slots=config.context_slots(frames, window, spec),
    )
