"""What can be chosen of the suite `vbench-long`, and the official defects that can be asked for.

Each name in `COMPAT` brings back one thing that VBench's code does, on purpose or not, and that this suite does
otherwise; docs/vbench.md shows each difference with numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean

PROTOCOLS = ("direct", "exact")
COMPAT = {
    "overlapping-clip": "the overlapping last clip takes part in the clip-to-clip score",
    "clip-order": "more than 1,000 clips are put in the order of their file names",
    "missing-clip-to-clip": "where the clip-to-clip score is missing or 0, the in-clip score stands for the fused one",
    "two-frames-dynamic": "two sampled frames are dynamic, whatever they show, and a single one is not",
    "underscore-names": "videos whose names agree up to the first underscore are one, without a clip-to-clip score",
    "mean-over-clips": "the mean of a folder is over all clips, not over videos",
}
OF_FOLDERS = ("underscore-names", "mean-over-clips")
ALL = "all"


@dataclass(frozen=True)
class Settings:
    """`protocol`: direct scores the decoded frames; exact encodes and decodes every clip once more, as the official
    code does. `long_range`: fuse in-clip consistency with that of the clips' first frames (official: --dev_flag).
    `antialias`: of the resizes for that (torchvision >= 0.17 has it on). `compat`: names of COMPAT, or all."""

    protocol: str = "direct"
    long_range: bool = False
    antialias: bool = True
    compat: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(
                f"protocol: unknown protocol {self.protocol!r}; {did_you_mean(self.protocol, [*PROTOCOLS])}"
            )
        for name in self.compat:
            if name not in (*COMPAT, ALL):
                raise ConfigError(f"compat: unknown name {name!r}; {did_you_mean(name, [*COMPAT, ALL])}")

    def allows(self, name: str) -> bool:
        return name in self.compat or ALL in self.compat
