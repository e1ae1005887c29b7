"""Settings of the suite `vbench-long`, and the official defects that it can reproduce.

Each name in `COMPAT` restores one behaviour of VBench's code, intended or not, that this suite changes; docs/vbench.md
shows each difference with numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean

PROTOCOLS = ("direct", "exact")
COMPAT = {
    "overlapping-clip": "the clip-to-clip score includes the overlapping last clip",
    "clip-order": "more than 1,000 clips are ordered by their file names",
    "missing-clip-to-clip": "if the clip-to-clip score is missing or 0, the in-clip score replaces the fused one",
    "two-frames-dynamic": "two sampled frames are always dynamic, and a single one never is",
    "underscore-names": "videos with equal names up to the first underscore count as one, without a clip-to-clip score",
    "mean-over-clips": "the folder score is the mean over all clips, not over videos",
}
OF_FOLDERS = ("underscore-names", "mean-over-clips")
ALL = "all"


@dataclass(frozen=True)
class Settings:
    """`protocol`: direct scores the decoded frames; exact encodes and decodes every clip once more, as official code
    does. `long_range`: fuse in-clip consistency with that of the clips' first frames (official: --dev_flag).
    `antialias`: for the resizes of those frames (on in torchvision >= 0.17). `compat`: names of COMPAT, or all."""

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
