"""The causal video diffusion transformer with Wan's architecture; its spec sets every size.

The network owns only its weights. An `Attend` callable decides which keys a token sees: it gets each layer's query, key
and value before rotation. The sampler passes one for cached context, the trainer one for teacher forcing, so that both
use one network, which knows neither caches nor context methods.

Parameter names are those of the published checkpoints, without their `model.` prefix.

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
    """Shift, 1 + scale and gate per layer, and the head's pair; each [D], or [B, F, 1, D] with timesteps per frame."""

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
        attended = attention(query.transpose(1, 2), *text).transpose(1, 2)
        return self.finish(x, attended, *last)

    def project(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of the self-attention."""
        return self.self_attn.query_key_value(modulated_norm(x, scale, shift, self.eps).flatten(1, 2))

    def mix(self, x: Tensor, mixed: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """x with the self-attention's output added, and the query of the cross-attention."""
        x = torch.addcmul(x, gate, self.self_attn.o(mixed.flatten(2)).view_as(x))
        return x, self.cross_attn.query(self.norm3(x).flatten(1, 2))

    def finish(self, x: Tensor, attended: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """x with the cross-attention's output added, then the feed-forward."""
        x = x + self.cross_attn.o(attended.flatten(2)).view_as(x)
        return torch.addcmul(x, gate, self.ffn(modulated_norm(x, scale, shift, self.eps)))


class Head(nn.Module):
    """The last modulated norm and the projection to a patch of flow."""

    def __init__(self, spec: DiTSpec):
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 2, spec.dim) / spec.dim**0.5)
        self.head = nn.Linear(spec.dim, spec.patch[0] * spec.patch[1] * spec.channels)


class CausalDiT(nn.Module):
    """Predicts the flow of a few frames from their noise levels, a text and an `Attend` over their context."""

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

        Attention and the rotation are not compiled, so that compiled code always gets the same shapes: a filling
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

        On a CPU, x @ W^T then reads them in order, which is 10 % faster; on CUDA, a layer's query, key and value are
        computed in one product.
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
        """Keys and values [B, h, text_len, d] of every layer's cross-attention, from rows padded with zeros.

        Texts are processed one by one, because a product of a few rows is rounded differently in a batch. No mask: the
        padding is attended, as in the published models. Raises ValueError for more rows than text_len.
        """
        if text_BLD.shape[1] > self.spec.text_len:
            raise ValueError(f"{text_BLD.shape[1]} rows of text, the network takes at most {self.spec.text_len}")
        texts = [self.one_text_kv(text) for text in text_BLD.to(self.head.head.weight).split(1)]
        return [
            (torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in zip(*texts, strict=True)
        ]

    def one_text_kv(self, text: Tensor) -> list[tuple[Tensor, Tensor]]:
        embedded = self.text_embedding(F.pad(text, (0, 0, 0, self.spec.text_len - text.shape[1])))
        pairs = [layer.cross_attn.key_value(embedded) for layer in self.layers()]
        return [(k.transpose(1, 2).contiguous(), v.transpose(1, 2).contiguous()) for k, v in pairs]

    def modulate(self, timesteps: Tensor) -> Modulation:
        """Modulation for one timestep (a scalar tensor, shared by all tokens) or for one per frame [B, F]."""
        time = self.time_embedding(time_sinusoid(timesteps, self.spec.freq_dim).to(self.head.head.weight))
        six = self.time_projection(time).unflatten(-1, (6, -1))
        layers = [split_modulation(layer.modulation[0] + six) for layer in self.layers()]
        shift, scale = split_modulation(self.head.modulation[0] + time.unsqueeze(-2))
        return Modulation(layers, (shift, scale))

    def forward(self, latents: Tensor, mod: Modulation, text: list[tuple[Tensor, Tensor]], attend: Attend) -> Tensor:
        """Flow [B, F, C, H, W] of latents [B, F, C, H, W], in their dtype; `text` comes from `text_kv`."""
        x = self.run_layers(len(self.blocks), latents, mod, text, attend)
        shift, scale = mod.head
        return self.unpatchify(self.head.head(modulated_norm(x, scale, shift, self.spec.eps))).to(latents.dtype)

    def commit(
        self, latents: Tensor, mod: Modulation, text: list[tuple[Tensor, Tensor]], attend: Attend, keep: Keep
    ) -> None:
        """Like `forward`, but ends with the last layer's keys and values, which are passed to `keep`.

        With four denoising passes this saves 2.7 % of the FLOPs of a block of the pocket network, .6 % of Wan 1.3B's.
        """
        last = len(self.blocks) - 1
        x = self.run_layers(last, latents, mod, text, attend)
        layer, (shift, scale, *_) = self.layers()[last], mod.layers[last]
        _, key, value = layer.project(x, shift, scale)
        keep(last, key, value)

    def run_layers(
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


def split_modulation(mod: Tensor) -> tuple[Tensor, ...]:
    """Split [..., k, D], rows of (shift, scale, gate, ...), into one tensor per row, and add 1 to scales.

    Returns [D] for one shared timestep and [B, F, 1, D] for a timestep per frame [B, F].
    """
    rows = [row if row.ndim == 1 else row.unsqueeze(-2) for row in mod.unbind(-2)]
    return tuple(row + 1 if i in (1, 4) else row for i, row in enumerate(rows))
