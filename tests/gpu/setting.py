"""Where the steps run, and at which size: a CUDA device at Wan's own sizes, or, with SMOKE=1, a CPU at tiny ones.

A smoke run goes through the same code and shows that a step works. Its times say nothing about a GPU.
"""

import os
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

SMOKE = bool(os.environ.get("SMOKE"))
DEVICE = torch.device("cpu") if SMOKE else torch.device("cuda", 0)
DTYPE = torch.float32 if SMOKE else torch.bfloat16
COMPILER = "aot_eager" if SMOKE else "inductor"
ROWS = Path(os.environ.get("ROWS", "build/gpu/rows"))
"""The folder of the rows that the steps measure, one file a step."""


def sized(full: T, smoke: T) -> T:
    """What this run uses of the two."""
    return smoke if SMOKE else full


def on_gpu() -> bool:
    return DEVICE.type == "cuda"


def synchronize() -> None:
    """Wait for everything that the device was asked to do."""
    if on_gpu():
        torch.cuda.synchronize(DEVICE)


def choose_compiler() -> None:
    """In a smoke run whatever asks for torch.compile gets COMPILER. Mutates torch.

    Inductor needs a C++ compiler on a CPU, and a minute; what is traced is the same without it.
    """
    if SMOKE:
        original = torch.compile
        torch.compile = lambda model=None, **kwargs: original(model, dynamic=kwargs.get("dynamic"), backend=COMPILER)
