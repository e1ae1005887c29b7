"""Attention for teacher forcing: one pass of the network trains on every block of a clip.

The input has two streams of the clip: noisy (to predict) and clean (context of later blocks). A block attends the clean
keys of the frames in its layout, and its own frames in its own stream, as in the sampler's context buffer. The layout
makes all decisions; this file only gathers, rotates and masks.

Shapes: B clips, K blocks of n frames, X context frames a block, T tokens a frame, h heads, d head dim, c = d / 2 pairs.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.rope import axis_angles, rotate
from longtake.platform.models.schedule import TRAINING_STEPS
from longtake.platform.models.spec import DiTSpec


@dataclass(frozen=True)
class Layout:
    """The context of every block. Integer tensors; `valid` is bool. Columns are relative to the block's first frame."""

    frames: Tensor  # [B, K, X] frame of the clip in each context slot
    times: Tensor  # [B, K, X]
    columns: Tensor  # [B, K, X]
    valid: Tensor  # [B, K, X]
    query_times: Tensor  # [B, K, n]
    query_columns: Tensor  # [B, K, n]


def rotations(times: Tensor, columns: Tensor, spec: DiTSpec) -> Tensor:
    """Cosines and sines [B, K, frames * T, c, 2] of frames at `times` whose left edge is at `columns`."""
    if spec.token_rows != 1:
        raise ValueError(f"teacher forcing supports one row of tokens, not {spec.token_rows}")
    over_time = axis_angles(times.flatten(), spec.split[0], spec.rope_theta).unflatten(0, times.shape)
    places = (columns.unsqueeze(-1) + torch.arange(spec.token_columns)).flatten()
    over_columns = axis_angles(places, spec.split[2], spec.rope_theta).unflatten(0, (*columns.shape, -1))
    over_time = over_time.unsqueeze(-2).expand(*over_columns.shape[:-1], -1)
    angles = torch.cat([over_time, over_columns], dim=-1).flatten(2, 3).float()
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


class TeacherForcing:
    """The `Attend` of a training pass over [noisy clip | clean clip], 2 K n frames."""

    def __init__(self, spec: DiTSpec, layout: Layout):
        self.layout, self.tokens = layout, spec.frame_tokens
        self.blocks, self.block = layout.query_times.shape[1], layout.query_times.shape[2]
        self.context_turn = rotations(layout.times, layout.columns, spec)
        self.own_turn = rotations(layout.query_times, layout.query_columns, spec)
        self.mask = self.visible()

    def visible(self) -> Tensor:
        """Bool mask [B * K, 1, 2 n T, X T + 2 n T]: valid context, then the own frames of the same stream."""
        own = self.block * self.tokens
        context = self.layout.valid.flatten(0, 1).repeat_interleave(self.tokens, dim=-1)
        context = context[:, None, :].expand(-1, 2 * own, -1)
        streams = torch.eye(2, dtype=torch.bool).repeat_interleave(own, 0).repeat_interleave(own, 1)
        return torch.cat([context, streams.expand(len(context), -1, -1)], dim=-1).unsqueeze(1)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, 2 K n T, h, d] -> the same shape."""
        clean_key, clean_value = self.clean(key), self.clean(value)
        keys = torch.cat([rotate(clean_key, self.context_turn), self.own(key, self.own_turn)], dim=2)
        values = torch.cat([clean_value, self.own(value)], dim=2)
        q, k, v = (x.flatten(0, 1).transpose(1, 2) for x in (self.own(query, self.own_turn), keys, values))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask).transpose(1, 2)
        streams = out.unflatten(0, (-1, self.blocks)).unflatten(2, (2, -1))
        return streams.transpose(1, 2).flatten(1, 3)

    def clean(self, x: Tensor) -> Tensor:
        """The context's frames of the clean stream: [B, 2 K n T, h, d] -> [B, K, X T, h, d]."""
        frames = x.unflatten(1, (2, self.blocks * self.block, self.tokens))[:, 1]
        clip = torch.arange(len(frames))[:, None, None]
        return frames[clip, self.layout.frames].flatten(2, 3)

    def own(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Both streams of each block side by side: [B, 2 K n T, h, d] -> [B, K, 2 n T, h, d], rotated alike."""
        streams = x.unflatten(1, (2, self.blocks, -1)).transpose(1, 2)
        if rotation is None:
            return streams.flatten(2, 3)
        return rotate(streams.flatten(2, 3), rotation.repeat(1, 1, 2, 1, 1))


def forced_flow(
    network: CausalDiT, noisy: Tensor, sigma: Tensor, context: Tensor, text: Tensor, layout: Layout
) -> Tensor:
    """The flow of the frames `noisy` [B, F, C, H, W] at noise levels `sigma` [B, F], in the context that `layout`
    selects from the frames of `context` [B, F, C, H, W]. `text`: [B, rows, text_dim]."""
    times = torch.cat([sigma * TRAINING_STEPS, torch.zeros_like(sigma)], dim=1)
    forcing = TeacherForcing(network.spec, layout)
    streams = torch.cat([noisy, context], dim=1)
    flow = network(streams, network.modulate(times), network.text_kv(text), forcing.attend)
    return flow[:, : noisy.shape[1]]
