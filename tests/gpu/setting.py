"""Device and sizes of the steps: a CUDA device at Wan's own sizes or, with SMOKE=1, a CPU at tiny sizes.

A smoke run executes the same code to check that a step works. Its times do not apply to a GPU.
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
"""The folder for measured rows, one file per step."""


def sized(full: T, smoke: T) -> T:
    """The value for this kind of run."""
    return smoke if SMOKE else full


def on_gpu() -> bool:
    return DEVICE.type == "cuda"


def synchronize() -> None:
    """Wait for all work queued on the device."""
    if on_gpu():
        torch.cuda.synchronize(DEVICE)


def choose_compiler() -> None:
    """In a smoke run, make torch.compile use the backend COMPILER. Mutates torch.

    On a CPU, inductor needs a C++ compiler and a minute. Another backend traces the same code.
    """
    if SMOKE:
        original = torch.compile
        torch.compile = lambda model=None, **kwargs: original(model, dynamic=kwargs.get("dynamic"), backend=COMPILER)
