"""What the habits that slow the published implementation cost, re-enacted around our network, timed beside our engine.

    .venv/bin/python tests/bench/published_losses.py [--blocks 24] [--size small|wide] [--out FILE.csv]

This is NOT the authors' program: none of its code is here and it was not run. It is a re-enactment of what is known of
where it spends time per block, and of nothing else; where a habit could be read as cheap or dear, it is the cheap one:
- in every pass and layer, the cache of the window (keys and values) is cloned twice;
- in every pass and layer, the keys and values of retrieved frames are copied from the bank again;
- in every pass and layer, all keys and the queries are rotated in float64 (the angles are made once per block);
- LoRA of every linear in the blocks is left unmerged (rank in the published proportion, dim / 6).
Its 2,500 waits for the device a block cost nothing on a CPU and are left out. What it computes is what our engine
computes: the table says by how much
their latents differ, and the test beside this file holds them to each other.

Shapes: L layers, B batch, h heads, d head dim, T tokens a frame, S slots (frames), c = d / 2 pairs.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from longtake.jobs.bench.engine_cases import WINDOW, SeededNoise
from longtake.platform.checkpoints.lora import merge_lora
from longtake.platform.generation.kv_cache import KVCache, write_entries
from longtake.platform.generation.rollout import Rollout
from longtake.platform.machine.process import set_up_computing
from longtake.platform.methods.base import Attended, MethodConfig, Plan, RolloutInfo
from longtake.platform.methods.native import Native
from longtake.platform.methods.rag import Rag
from longtake.platform.models.attention import attention
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.rope import frame_rotation
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

SIZES = {
    "small": DiTSpec(384, 1536, 6, 6, 16, 8, 12, 64, 256),
    "wide": DiTSpec(256, 1493, 2, 4, 16, 32, 32, 85, 256),
}
"""`small`: that of `longtake bench engine`. `wide`: Wan's own head size, and as many tokens a frame as it has for its
dim (1560 of 1536; here 256 of 256)."""
LORA_PART = 6
GATES = 0.5
"""Attention must reach the latents for their agreement to say anything; untrained gates are near 0."""
CLONES, COPIES, ROTATION = "two clones of the cache", "retrieved copied again", "float64 rotation"


class Spent(dict[str, float]):
    """CPU seconds by habit."""

    @contextmanager
    def on(self, habit: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        self[habit] = self.get(habit, 0.0) + time.thread_time() - started


class HabitContext:
    """Takes the place of ContextBuffer: nothing is kept between passes that could be made again."""

    def __init__(self, spec: DiTSpec, batch: int):
        self.spec, self.batch = spec, batch
        self.entries: list[Tensor] | None = None
        self.spent = Spent()

    def missing(self, plan: Plan, cache: KVCache, camera: object) -> list[tuple[int, int]]:
        return []

    def attended(self) -> Plan:
        return self.plan

    def load(self, plan: Plan, cache: KVCache, camera: object) -> None:
        """The window as the cache holds it: keys and values [B, S * T, h, d] of every layer, not rotated."""
        self.plan, self.cache, self.block = plan, cache, len(plan.query_times)
        self.slots = [[i for i, at in enumerate(row[: -self.block]) if at.reason != "retrieved"] for row in plan.rows]
        self.memory = [[i for i, at in enumerate(row) if at.reason == "retrieved"] for row in plan.rows]
        past = [
            torch.cat([cache.entry(b, plan.rows[b][i].frame) for i in slots], dim=2) if slots else None
            for b, slots in enumerate(self.slots)
        ]
        self.window = None if past[0] is None else torch.stack([rows for rows in past if rows is not None], dim=2)
        turns = torch.stack([torch.cat([self.turn(at) for at in row]) for row in plan.rows])
        self.turns = torch.view_as_complex(turns.double()).unsqueeze(2)

    def turn(self, at: Attended) -> Tensor:
        spec = self.spec
        return frame_rotation(at.time, spec.token_rows, spec.token_columns, 0, spec.split, spec.rope_theta)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the new frames [B, N, h, d] over the context and themselves."""
        if self.entries is not None:
            self.commit(layer, key, value)
        keys, values = (self.laid_out(layer, which, new) for which, new in ((0, key), (1, value)))
        with self.spent.on(ROTATION):
            keys, query = self.rotate(keys, self.turns), self.rotate(query, self.turns[:, -query.shape[1] :])
        return attention(query.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)).transpose(1, 2)

    def laid_out(self, layer: int, which: int, new: Tensor) -> Tensor:
        """Keys (0) or values (1) [B, S * T, h, d] in the plan's order: cloned window, copied memory, new frames."""
        tokens, slots = self.spec.frame_tokens, len(self.plan.rows[0])
        laid = torch.empty(self.batch, slots * tokens, self.spec.heads, self.spec.head_dim)
        laid[:, -new.shape[1] :] = new
        if self.window is not None:
            with self.spent.on(CLONES):
                first = self.window[which, layer].clone()
                for b, frames in enumerate(self.slots):
                    for place, i in enumerate(frames):
                        laid[b, i * tokens : (i + 1) * tokens] = first[b, place * tokens : (place + 1) * tokens]
        with self.spent.on(COPIES):
            for b, frames in enumerate(self.memory):
                for i in frames:
                    entry = self.cache.entry(b, self.plan.rows[b][i].frame)
                    laid[b, i * tokens : (i + 1) * tokens] = entry[which, layer]
        return laid

    def rotate(self, x: Tensor, turns: Tensor) -> Tensor:
        """x [B, N, h, d] turned by the complex numbers [B, N, 1, c], in float64."""
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turns).flatten(-2).float()

    def commit(self, layer: int, key: Tensor, value: Tensor) -> None:
        assert self.entries is not None
        write_entries(self.entries, layer, key, value, self.spec.frame_tokens)


class Unmerged(nn.Module):
    """A linear with its low-rank update beside it."""

    def __init__(self, linear: nn.Linear, a: Tensor, b: Tensor):
        super().__init__()
        self.linear, self.a, self.b = linear, a, b

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + (x @ self.a.T) @ self.b.T


def lora_of(network: CausalDiT) -> dict[str, Tensor]:
    """Random A and B for every linear of the blocks, under PEFT's names."""
    rank, found = network.spec.dim // LORA_PART, dict[str, Tensor]()
    for name, module in network.blocks.named_modules():
        if isinstance(module, nn.Linear):
            key = f"base_model.model.blocks.{name}"
            found[f"{key}.lora_A.weight"] = torch.randn(rank, module.in_features) / module.in_features**0.5
            found[f"{key}.lora_B.weight"] = torch.randn(module.out_features, rank) * 0.1 / rank**0.5
    return found


def leave_unmerged(network: CausalDiT, lora: dict[str, Tensor]) -> None:
    """Mutates the network."""
    for name, module in list(network.blocks.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            a, b = (lora[f"base_model.model.blocks.{name}.lora_{side}.weight"] for side in "AB")
            setattr(network.blocks.get_submodule(parent), child, Unmerged(module, a, b))


@torch.no_grad()
def start(spec: DiTSpec, config: MethodConfig, habits: bool, lora: bool) -> Rollout:
    """A rollout over the same random weights, ours or with the habits; `lora`: merged in ours, unmerged in theirs."""
    torch.manual_seed(0)
    network = CausalDiT(spec).eval().requires_grad_(False)
    for layer in network.layers():
        layer.modulation.mul_(GATES * spec.dim**0.5)
    updates = lora_of(network) if lora else {}
    if lora and not habits:
        network.load_state_dict(merge_lora(network.state_dict(), updates))
    network.lay_out()
    if lora and habits:
        leave_unmerged(network, updates)
    text = torch.randn(1, spec.text_len, spec.text_dim, generator=torch.Generator().manual_seed(7))
    method = config.build(RolloutInfo(WINDOW, 1, (0,)))
    rollout = Rollout(
        network,
        FlowSchedule(),
        method,
        text,
        SeededNoise(spec),
        keep_evicted=config.keeps_evicted,
        keep_flow=habits,  # the published commit pass runs the last layer and the head
    )
    if habits:
        rollout.context = HabitContext(spec, 1)  # type: ignore[assignment]
    return rollout


@dataclasses.dataclass(frozen=True)
class Comparison:
    """CPU seconds per block of ours and of the re-enactment, seconds by habit over all blocks, largest difference."""

    label: str
    ours: list[float]
    theirs: list[float]
    by_habit: dict[str, float]
    difference: float


def compare(spec: DiTSpec, config: MethodConfig, label: str, blocks: int, lora: bool) -> Comparison:
    """Block by block in turns; who begins alternates."""
    rollouts = {habits: start(spec, config, habits, lora) for habits in (False, True)}
    runs = {habits: rollout.blocks(blocks) for habits, rollout in rollouts.items()}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    difference = 0.0
    for index in range(blocks):
        made = {}
        for habits in (False, True) if index % 2 else (True, False):
            started = time.thread_time()
            made[habits] = next(runs[habits])
            seconds[habits].append(time.thread_time() - started)
        difference = max(difference, float((made[True].latents - made[False].latents).abs().max()))
    context: HabitContext = rollouts[True].context  # type: ignore[assignment]
    return Comparison(label, seconds[False], seconds[True], dict(context.spent), difference)


STEADY_FROM = 8


def report(size: str, comparisons: list[Comparison]) -> Table:
    spec = SIZES[size]
    sizes = f"dim {spec.dim}, {spec.layers} layers, {spec.heads} heads, {spec.frame_tokens} tokens a frame"
    title = f"Re-enacted habits, not the authors' program; {sizes}, float32, one CPU thread, torch {torch.__version__}"
    headings = ("", "ours s a block", "re-enacted s", "ratio [middle half]", CLONES, COPIES, ROTATION, "difference")
    table = Table(*headings, title=title)
    for case in comparisons:
        ours, theirs = case.ours[STEADY_FROM:], case.theirs[STEADY_FROM:]
        low, middle, high = statistics.quantiles([b / a for a, b in zip(ours, theirs, strict=True)], n=4)
        shares = [f"{case.by_habit.get(habit, 0.0) / sum(case.theirs):.0%}" for habit in (CLONES, COPIES, ROTATION)]
        medians = [f"{statistics.median(values):.3f}" for values in (ours, theirs)]
        table.add_row(case.label, *medians, f"{middle:.2f} [{low:.2f}, {high:.2f}]", *shares, f"{case.difference:.1e}")
    return table


def as_csv(size: str, comparisons: list[Comparison]) -> list[str]:
    return [
        f'{size},"{case.label}",{index},{ours:.6f},{theirs:.6f}'
        for case in comparisons
        for index, (ours, theirs) in enumerate(zip(case.ours, case.theirs, strict=True))
    ]


CASES: tuple[tuple[str, MethodConfig, bool], ...] = (
    ("native", Native(), False),
    ("rag", Rag(), False),
    ("rag, LoRA unmerged", Rag(), True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time our engine beside the re-enacted habits.")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    set_up_computing()
    lines = ["size,case,block,ours_cpu_seconds,reenacted_cpu_seconds"]
    for size in SIZES if asked.size == "all" else [asked.size]:
        done = [compare(SIZES[size], config, label, asked.blocks, lora) for label, config, lora in CASES]
        Console(width=150).print(report(size, done))
        lines += as_csv(size, done)
    if asked.out:
        asked.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
