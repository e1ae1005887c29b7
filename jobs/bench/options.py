"""What `longtake bench sampler` is asked: plain values that travel to other processes, and its command line.

Imports nothing heavy, since `longtake --help` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from longtake.platform.resources import Resources
    from longtake.platform.takes import Take

PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
"""Any text is a prompt of the Wan family; the pocket world reads only ones like this."""


@dataclass(frozen=True)
class BenchOptions:
    """`shrink` divides the sizes of the spec; `dtype` None is the backbone's own on a GPU and float32 on a CPU."""

    backbone: str = "longlive"
    seconds: int = 30
    methods: tuple[str, ...] = ("native", "native-relative", "rag")
    window: int | None = None
    shrink: int = 1
    batch: int = 1
    device: str = "auto"
    dtype: str | None = None
    compile: bool = False
    bank_dtype: str | None = None
    host_gib: float | None = None
    disk: str | None = None

    @property
    def name(self) -> str:
        """What the stand-in with random weights is registered as."""
        return f"{self.backbone}-random"

    @property
    def as_command(self) -> str:
        """The command line that asks for these."""
        given = [(field.name, getattr(self, field.name)) for field in fields(self)]
        changed = [(name, value) for name, value in given if value != getattr(BenchOptions(), name)]
        words = [(name.replace("_", "-"), ",".join(v) if isinstance(v, tuple) else v) for name, v in changed]
        options = [f"--{name}" if value is True else f"--{name} {value}" for name, value in words]
        return " ".join(["longtake bench sampler", *options])

    @property
    def resources(self) -> Resources:
        from longtake.platform.resources import BankRoom, Resources

        return Resources(self.device, compile=self.compile, bank=BankRoom(host_gib=self.host_gib, disk=self.disk))

    def take(self, method: str, latent_frames: int, seed: int = 0) -> Take:
        """A take of the stand-in; the window and the bank's dtype go to every method that has them."""
        from longtake.platform.methods.base import methods
        from longtake.platform.takes import MethodSpec, Take

        params: dict[str, object] = {} if self.window is None else {"window": self.window}
        if self.bank_dtype is not None and methods.get(method).keeps_evicted:
            params["bank_dtype"] = self.bank_dtype
        chosen = MethodSpec(method, method, params)
        return Take(self.name, chosen, self.seconds, latent_frames, PROMPT, seed)


def command(
    backbone: Annotated[str, typer.Option(help="Whose sizes to run, with random weights.")] = "longlive",
    seconds: Annotated[int, typer.Option(min=1, help="Length of the video.")] = 30,
    methods: Annotated[str, typer.Option(help="Context methods, split by commas.")] = "native,native-relative,rag",
    window: Annotated[int | None, typer.Option(help="Frames attended at most; default: the backbone's.")] = None,
    shrink: Annotated[int, typer.Option(min=1, help="Divide the network's sizes by this.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Rows made at once in the timing of blocks.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float32 or bf16.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile what lies between attentions.")] = False,
    bank_dtype: Annotated[str | None, typer.Option(help="float32, bf16 or fp8.")] = None,
    host_gib: Annotated[float | None, typer.Option(help="Host memory for the bank; default: no limit.")] = None,
    disk: Annotated[str | None, typer.Option(help="A folder for what of the bank is past that.")] = None,
    end_to_end: Annotated[bool, typer.Option(help="Also make whole videos, as `longtake run` does.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write every block's reading to this CSV file.")] = None,
) -> int:
    """Clocks, frames a second and memory of a backbone's sizes with random weights; downloads nothing."""
    from longtake.jobs.bench.sampler import sampler

    options = BenchOptions(
        backbone=backbone,
        seconds=seconds,
        methods=tuple(name.strip() for name in methods.split(",")),
        window=window,
        shrink=shrink,
        batch=batch,
        device=device,
        dtype=dtype,
        compile=compile,
        bank_dtype=bank_dtype,
        host_gib=host_gib,
        disk=disk,
    )
    return sampler(options, end_to_end, out)
