"""The causal video diffusion transformer, Wan-shaped; every size is a number of its spec.

The network owns its weights and nothing else. Which keys a token sees is the business of an `Attend` callable
that gets each layer's query, key and value before rotation: the sampler passes one over cached context, the
trainer one for teacher forcing. So there is one network, and it knows neither caches nor context methods.

Parameter names are those of the published checkpoints (behind their `model.` prefix).

Shapes: B batch, F frames, C channels, H x W latent size, T tokens of a frame, N = F * T, D dim, h heads, d head dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.platform.models.attention import attention
from longtake.platform.models.layers import GELU, Attention, FeedForward, modulated_norm
from longtake.platform.models.spec import DiTSpec

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, query, key, value), each [B, N, h, d] and not rotated -> [B, N, h, d]."""
Keep = Callable[[int, Tensor, Tensor], None]
"""(layer, key, value), each [B, N, h, d] and not rotated."""


def time_sinusoid(timesteps: Tensor, freq_dim: int) -> Tensor:
    """[..., freq_dim] float32: cosines, then sines, of t * 10000 ** (-i / (freq_dim / 2)), computed in float64."""
    half = freq_dim // 2
    exponents = torch.arange(half, dtype=torch.float64, device=timesteps.device)
    angles = timesteps.double().unsqueeze(-1) * 10_000.0 ** (-exponents / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


@dataclass(frozen=True)
class Modulation:
    """Shift, 1 + scale and gate per layer, and the head's pair; each [D], or [B, F, 1, D] with a time per frame."""

    layers: list[tuple[Tensor, ...]]
    head: tuple[Tensor, Tensor]


class Layer(nn.Module):
    """Modulated self-attention, plain cross-attention to the text, modulated feed-forward."""

    def __init__(self, spec: DiTSpec):
        super().__init__()
        self.eps, self.dim = spec.eps, spec.dim
        self.modulation = nn.Parameter(torch.randn(1, 6, spec.dim) / spec.dim**0.5)
        self.self_attn = Attention(spec.dim, spec.heads, spec.eps)
        self.norm3 = nn.LayerNorm(spec.dim, spec.eps)
        self.cross_attn = Attention(spec.dim, spec.heads, spec.eps)
        self.ffn = FeedForward(spec.dim, spec.ffn_dim)

    def forward(
        self, x: Tensor, mod: tuple[Tensor, ...], text: tuple[Tensor, Tensor], attend: Attend, i: int
    ) -> Tensor:
        shift0, scale0, gate0, *last = mod
        mixed = attend(i, *self.project(x, shift0, scale0))
        x, query = self.mix(x, mixed, gate0)
        told = attention(query.transpose(1, 2), *text).transpose(1, 2)
        return self.finish(x, told, *last)

    def project(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of the self-attention."""
        return self.self_attn.query_key_value(modulated_norm(x, scale, shift, self.eps).flatten(1, 2))

    def mix(self, x: Tensor, mixed: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """x with the self-attention's output added, and the query of the cross-attention."""
        x = torch.addcmul(x, gate, self.self_attn.o(mixed.flatten(2)).view_as(x))
        return x, self.cross_attn.query(self.norm3(x).flatten(1, 2))

    def finish(self, x: Tensor, told: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """What follows the cross-attention: its output, then the feed-forward."""
        x = x + self.cross_attn.o(told.flatten(2)).view_as(x)
        return torch.addcmul(x, gate, self.ffn(modulated_norm(x, scale, shift, self.eps)))


class Head(nn.Module):
    """The last modulated norm and the projection to a patch of flow."""

    def __init__(self, spec: DiTSpec):
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 2, spec.dim) / spec.dim**0.5)
        self.head = nn.Linear(spec.dim, spec.patch[0] * spec.patch[1] * spec.channels)


class CausalDiT(nn.Module):
    """Flow of a few frames, given their noise levels, a text and an `Attend` over their context."""

    def __init__(self, spec: DiTSpec):
        super().__init__()
        self.spec = spec
        dim, patch = spec.dim, (1, *spec.patch)
        self.patch_embedding = nn.Conv3d(spec.channels, dim, patch, patch)
        self.text_embedding = nn.Sequential(nn.Linear(spec.text_dim, dim), GELU(), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(spec.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Layer(spec) for _ in range(spec.layers))
        self.head = Head(spec)

    @property
    def device(self) -> torch.device:
        return self.head.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.head.head.weight.dtype

    def compile_parts(self, backend: str = "inductor") -> "CausalDiT":
        """Compile the code between two attentions. Mutates the network.

        Attention and the rotation are not compiled, so that every compiled piece always sees the same shape: a filling
        window, another method or a longer video needs no recompilation.
        """
        compiled = {
            name: torch.compile(getattr(Layer, name), backend=backend, dynamic=False)
            for name in ("project", "mix", "finish")
        }
        for layer in self.layers():
            for name, function in compiled.items():
                setattr(layer, name, partial(function, layer))
        return self

    def layers(self) -> list[Layer]:
        return [layer for layer in self.blocks if isinstance(layer, Layer)]

    def lay_out(self) -> "CausalDiT":
        """Store the weights in the fastest layout for the device. Mutates the network.

        On a CPU, x @ W^T then reads them in order, which is a tenth faster; on CUDA, queries, keys and values of a
        layer become one product.
        """
        if self.device.type != "cpu":
            for layer in self.layers():
                layer.self_attn.fuse()
            return self
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()
        return self

    def text_kv(self, text_BLD: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [B, h, text_len, d] of every layer's cross-attention; rows are padded with zeros first.

        Texts go through one by one: a product of a few rows is the one that a batch would round differently. No mask:
        the padding takes part in attention, as in the published models. Raises ValueError for more rows than text_len.
        """
        if text_BLD.shape[1] > self.spec.text_len:
            raise ValueError(f"{text_BLD.shape[1]} rows of text where the network takes {self.spec.text_len}")
        texts = [self.one_text_kv(text) for text in text_BLD.to(self.head.head.weight).split(1)]
        return [
            (torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in zip(*texts, strict=True)
        ]

    def one_text_kv(self, text: Tensor) -> list[tuple[Tensor, Tensor]]:
        told = self.text_embedding(F.pad(text, (0, 0, 0, self.spec.text_len - text.shape[1])))
        pairs = [layer.cross_attn.key_value(told) for layer in self.layers()]
        return [(k.transpose(1, 2).contiguous(), v.transpose(1, 2).contiguous()) for k, v in pairs]

    def modulate(self, timesteps: Tensor) -> Modulation:
        """Modulation for one timestep (a scalar tensor, shared by all tokens) or for one per frame [B, F]."""
        time = self.time_embedding(time_sinusoid(timesteps, self.spec.freq_dim).to(self.head.head.weight))
        six = self.time_projection(time).unflatten(-1, (6, -1))
        layers = [spread(layer.modulation[0] + six) for layer in self.layers()]
        shift, scale = spread(self.head.modulation[0] + time.unsqueeze(-2))
        return Modulation(layers, (shift, scale))

    def forward(self, latents: Tensor, mod: Modulation, text: list[tuple[Tensor, Tensor]], attend: Attend) -> Tensor:
        """Flow [B, F, C, H, W] of latents [B, F, C, H, W], in their dtype; `text` comes from `text_kv`."""
        x = self.through(len(self.blocks), latents, mod, text, attend)
        shift, scale = mod.head
        return self.unpatchify(self.head.head(modulated_norm(x, scale, shift, self.spec.eps))).to(latents.dtype)

    def commit(
        self, latents: Tensor, mod: Modulation, text: list[tuple[Tensor, Tensor]], attend: Attend, keep: Keep
    ) -> None:
        """Like `forward`, but stops at the last layer's keys and values, which are passed to `keep`.

        With four denoising passes that saves 2.7 % of the FLOPs of a block of the pocket network, .6 % of Wan 1.3B's.
        """
        last = len(self.blocks) - 1
        x = self.through(last, latents, mod, text, attend)
        layer, (shift, scale, *_) = self.layers()[last], mod.layers[last]
        _, key, value = layer.project(x, shift, scale)
        keep(last, key, value)

    def through(
        self, layers: int, latents: Tensor, mod: Modulation, text: list[tuple[Tensor, Tensor]], attend: Attend
    ) -> Tensor:
        """Tokens [B, F, T, D] after the first `layers` layers."""
        x = self.patchify(latents.to(self.dtype))
        for i, layer in enumerate(self.blocks[:layers]):
            x = layer(x, mod.layers[i], text[i], attend, i)
        return x

    def patchify(self, latents: Tensor) -> Tensor:
        """[B, F, C, H, W] -> tokens [B, F, T, D], row by row: the patch convolution as one product."""
        weight = self.patch_embedding.weight
        (rows, columns), (ph, pw) = (self.spec.token_rows, self.spec.token_columns), self.spec.patch
        patches = latents.unflatten(-1, (columns, pw)).unflatten(-3, (rows, ph))
        flat = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(-3).flatten(2, 3)
        return F.linear(flat, weight.flatten(1), self.patch_embedding.bias)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """[B, F, T, ph * pw * C], channel fastest -> [B, F, C, H, W]."""
        spec = self.spec
        grid = patches.unflatten(-1, (*spec.patch, spec.channels)).unflatten(2, (spec.token_rows, spec.token_columns))
        return grid.permute(0, 1, 6, 2, 4, 3, 5).flatten(-2).flatten(-3, -2)


def empty_dit(spec: DiTSpec) -> CausalDiT:
    """Names and shapes alone, on the meta device."""
    with torch.device("meta"):
        return CausalDiT(spec)


def spread(mod: Tensor) -> tuple[Tensor, ...]:
    """[..., k, D] rows of (shift, scale, gate, ...) -> one tensor per row, scales with their 1 added.

    Rows of one shared timestep come out as [D]; rows of a timestep per frame [B, F] as [B, F, 1, D].
    """
    rows = [row if row.ndim == 1 else row.unsqueeze(-2) for row in mod.unbind(-2)]
    return tuple(row + 1 if i in (1, 4) else row for i, row in enumerate(rows))
