"""Bytes that the decoder of Wan's VAE reads and writes per latent frame, in diffusers and in Longtake.

    python -m tests.bench.vae_traffic [--height 480] [--width 832] [--dtype bfloat16]

Runs both decoders at the published widths on the meta device, which takes seconds on any machine. Each operator reads
its inputs once and writes its outputs once; views cost nothing; caches, and repeated reads in a convolution, are not
modelled. Operators that are several kernels on CUDA count as those kernels: padding fills and then copies, and the bias
of a convolution is added after cuDNN. Our norm counts as its Triton kernel.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from longtake.platform.models.vae.decoder import StreamingDecoder
from longtake.platform.models.vae.norm import plain_norm_silu
from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, random_vae

WRITE_ONLY = ("copy_", "fill_", "zero_")
FREE = ("empty", "detach", "_unsafe_view")


def touched(tensors: Iterable[Any]) -> int:
    """Bytes of these tensors in memory, where an expanded dimension counts once."""
    sizes = {}
    for x in tensors:
        if isinstance(x, Tensor):
            kept = [size for size, stride in zip(x.shape, x.stride(), strict=True) if stride]
            sizes[id(x)] = torch.Size(kept).numel() * x.element_size()
    return sum(sizes.values())


class Traffic(TorchDispatchMode):
    """Counts bytes by operator inside the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(FREE):
            self.bytes[name] += self.cost(name, args, out if isinstance(out, (tuple, list)) else (out,))
        return out

    def cost(self, name: str, args: Any, out: Any) -> int:
        inputs = [y for x in args for y in (x if isinstance(x, (tuple, list)) else (x,))]
        read, written = touched(inputs[1:] if name in WRITE_ONLY else inputs), touched(out)
        if name == "convolution" and args[2] is not None:
            return read + 3 * written
        if name == "constant_pad_nd":
            return 2 * read + written
        return read + written

    def norm_silu(
        self,
        x: Tensor,
        weight: Tensor,
        out: Tensor,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        keep: bool = False,
    ) -> None:
        """The plain form, counted as the kernel."""
        before = self.bytes.copy()
        plain_norm_silu(x, weight, out, bias, residual, keep)
        self.bytes = before
        self.bytes["norm_silu"] += touched((x, weight, bias, residual)) + touched((out,)) + keep * touched((x,))


def of_second_frame(step: Callable[[Tensor], object], traffic: Traffic, z: Tensor) -> Counter[str]:
    """Traffic of the third latent frame: the first is smaller than all others, and the second allocates buffers."""
    step(z)
    step(z)
    traffic.bytes.clear()
    with traffic:
        step(z)
    return traffic.bytes


def compare(height: int, width: int, dtype: torch.dtype, base_dim: int = 96) -> dict[str, Counter[str]]:
    """Bytes by operator of one later latent frame."""
    with torch.device("meta"):
        vae = random_vae(WAN_VAE_CONFIG | {"base_dim": base_dim})
    torch.nn.Module.to(vae, dtype)  # the `to` of diffusers warns
    z = torch.empty(1, 16, 1, height // 8, width // 8, dtype=dtype, device="meta")
    theirs, ours, history = Traffic(), Traffic(), [None] * len(StreamingDecoder(vae, "contiguous").convolutions)
    decoder = StreamingDecoder(vae, "contiguous", ours.norm_silu)
    with torch.no_grad():  # inference mode would show operators before their decomposition
        return {
            "diffusers": of_second_frame(
                lambda z: vae.decoder(vae.post_quant_conv(z), feat_cache=history, feat_idx=[0]), theirs, z
            ),
            "ours": of_second_frame(decoder, ours, z),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    for name, counted in compare(options.height, options.width, getattr(torch, options.dtype)).items():
        print(f"{name}: {sum(counted.values()) / 1e9:.1f} GB per latent frame")
        for operator, count in counted.most_common():
            if count >= 5e7:
                print(f"    {operator:40}{count / 1e9:8.1f}")


if __name__ == "__main__":
    main()
