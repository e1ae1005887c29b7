"""Options of `longtake bench sampler`: plain values that pickle, and the command line.

An option is declared once, as a field of `BenchOptions`; the command line, the title and `as_command` follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from longtake.platform.machine.resources import Resources
    from longtake.platform.takes import Take

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
"""The Wan family accepts any text as a prompt; the pocket world accepts only prompts of this form."""


@dataclass(frozen=True)
class BenchOptions:
    """`shrink` divides the sizes of the spec; `dtype` None means that of the backbone on a GPU and float32 on a CPU."""

    backbone: Annotated[str, typer.Option(help="Backbone to run, with random weights.")] = "longlive"
    seconds: Annotated[int, typer.Option(min=1, help="Length of the video.")] = 30
    methods: Annotated[tuple[str, ...], typer.Option(help="Context methods, separated by commas.")] = (
        "native",
        "native-relative",
        "rag",
    )
    window: Annotated[int | None, typer.Option(help="Window in latent frames; default: the backbone's.")] = None
    shrink: Annotated[int, typer.Option(min=1, help="Divide the network's sizes by this number.")] = 1
    batch: Annotated[int, typer.Option(min=1, help="Number of videos per batch while blocks are timed.")] = 1
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    dtype: Annotated[
        str | None, typer.Option(help="float32 or bf16; default: the backbone's on a GPU, else float32.")
    ] = None
    precision: Annotated[str | None, typer.Option(help="bf16 or fp8 (workers.precision); default: same as dtype.")] = (
        None
    )
    compile: Annotated[bool, typer.Option("--compile", help="Compile the code between attentions.")] = False
    bank_dtype: Annotated[str | None, typer.Option(help="float32, bf16 or fp8; default: the compute dtype.")] = None
    bank_frames: Annotated[int | None, typer.Option(help="Number of frames that the bank keeps; default: all.")] = None
    gpu_gib: Annotated[float, typer.Option(help="GiB of device memory for the bank.")] = 0.0
    host_gib: Annotated[
        float | None, typer.Option(help="GiB of host memory for the bank; default: half of the free memory.")
    ] = None
    disk: Annotated[str | None, typer.Option(help="Folder for the rest of the bank; default: none.")] = None

    @property
    def name(self) -> str:
        """The registered name of the stand-in with random weights."""
        return f"{self.backbone}-random"

    @property
    def as_command(self) -> str:
        """The command line with these options."""
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        changed = [(name, value) for name, value in values if value != getattr(BenchOptions(), name)]
        words = [(name.replace("_", "-"), ",".join(v) if isinstance(v, tuple) else v) for name, v in changed]
        options = [f"--{name}" if value is True else f"--{name} {value}" for name, value in words]
        return " ".join(["longtake bench sampler", *options])

    @property
    def resources(self) -> Resources:
        from longtake.platform.machine.resources import BankCapacity, Resources

        bank = BankCapacity(gpu_gib=self.gpu_gib, host_gib=self.host_gib, disk=self.disk)
        return Resources(self.device, compile=self.compile, precision=self.precision, bank=bank)

    def take(self, method: str, latent_frames: int, seed: int = 0) -> Take:
        """A take of the stand-in. The window and bank options are passed to every method that has them."""
        from longtake.platform.methods.base import methods
        from longtake.platform.takes import MethodSpec, Take

        bank = {"bank_dtype": self.bank_dtype, "bank_frames": self.bank_frames}
        settings = {"window": self.window} | (bank if methods.get(method).keeps_evicted else {})
        params: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        return Take(self.name, MethodSpec(method, method, params), self.seconds, latent_frames, PROMPT, seed)
