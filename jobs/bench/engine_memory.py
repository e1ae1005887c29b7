"""What a rollout of `longtake bench engine` holds: its process's memory per frame, its bank, and its other state."""

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import psutil
from torch import Tensor, nn

from longtake.jobs.bench.apart import in_new_process
from longtake.jobs.bench.engine_cases import WINDOW, Case, random_network, start
from longtake.platform.generation.bank.bank import Bank
from longtake.platform.machine.process import set_up_computing
from longtake.platform.models.spec import DiTSpec

OUTSIDE = (type, ModuleType, FunctionType, nn.Module, Bank)
"""Not entered when state is counted."""


@dataclass(frozen=True)
class Memory:
    """In bytes: growth of the process per latent frame; the bank per banked frame; everything else that the rollout
    holds at its end (cache, context and the method's own tensors)."""

    resident_per_frame: float
    bank_per_frame: float
    state: int


def memory_of(case: Case, frames: int, spec: DiTSpec) -> Memory:
    """Measures the case in a new process, which cannot reuse the memory of another run."""
    return in_new_process(measure_memory, case, frames, spec)


def measure_memory(case: Case, frames: int, spec: DiTSpec) -> Memory:
    """Measures memory growth over the second half of the run, when allocation is stable."""
    set_up_computing()
    rollout, process, resident = start(case, random_network(spec), frames), psutil.Process(), []
    blocks = frames // WINDOW.block
    for index in range(blocks):
        rollout.block(index)
        resident.append(process.memory_info().rss)
    half = blocks // 2
    growth = (resident[-1] - resident[half]) / ((blocks - 1 - half) * WINDOW.block)
    bank = rollout.cache.bank
    bank_per_frame = bank.num_bytes / len(bank) if bank and len(bank) else 0.0
    memory = Memory(growth, bank_per_frame, held_bytes([rollout.cache, rollout.context, rollout.method]))
    rollout.close()
    return memory


def held_bytes(roots: Iterable[Any]) -> int:
    """Bytes of all tensors and arrays that the objects refer to, each storage once. The bank, networks, modules,
    classes and functions are not entered."""
    seen, todo, sizes = set[int](), list(roots), dict[int, int]()
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, OUTSIDE):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, np.ndarray):
            todo.append(one.base)
            if one.base is None:
                sizes[one.ctypes.data] = one.nbytes
        todo += gc.get_referents(one)
    return sum(sizes.values())
