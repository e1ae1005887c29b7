"""Triton kernels without a GPU: run in the interpreter, and compiled for an H100 by Triton's own compiler.

The interpreter changes Triton permanently in its process, so it runs in a separate one, which stays for the session. To
convert float32 to bf16 it truncates, where a GPU rounds.
"""

import importlib
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch
from torch.utils._pytree import tree_map


def interpreted(module: str, function: str, *args: Any) -> Any:
    """Call `function` of longtake.platform.kernels.`module` in the interpreter and return its result.

    Tensors among the arguments are changed as by the call. Errors of the call are raised.
    """
    return computed(module, function, None, args, {})


def launched(module: str, kernel: str, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
    """Like `interpreted`, for a kernel itself."""
    computed(module, kernel, grid, args, constants)


def computed(module: str, name: str, grid: tuple[int, ...] | None, args: Any, constants: dict[str, Any]) -> Any:
    sent = pickle.dumps((module, name, grid, args, constants))
    result, after = tree_map(as_e4m3, pickle.loads(interpreter().submit(call, sent).result()))
    for mine, theirs in zip(args, after, strict=True):
        if isinstance(mine, torch.Tensor):
            mine.copy_(theirs)
    return result


@cache
def interpreter() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=turn_interpreter_on)


def turn_interpreter_on() -> None:
    os.environ["TRITON_INTERPRET"] = "1"


def call(sent: bytes) -> bytes:
    module, name, grid, args, constants = pickle.loads(sent)
    function = getattr(importlib.import_module(f"longtake.platform.kernels.{module}"), name)
    result = function(*args) if grid is None else function[grid](*args, **constants)
    return pickle.dumps(tree_map(as_bytes, (result if grid is None else None, args)))


@dataclass(frozen=True)
class E4M3:
    """A tensor of 8-bit floats as bytes, which torch can pickle."""

    bytes: torch.Tensor


def as_bytes(value: Any) -> Any:
    is_e4m3 = isinstance(value, torch.Tensor) and value.dtype == torch.float8_e4m3fn
    return E4M3(value.view(torch.uint8)) if is_e4m3 else value


def as_e4m3(value: Any) -> Any:
    return value.bytes.view(torch.float8_e4m3fn) if isinstance(value, E4M3) else value


def cubin_bytes(kernel: Any, types: dict[str, str], constants: dict[str, int | float | bool], warps: int = 4) -> int:
    """Size of `kernel` compiled for sm_90. `types`: Triton's type of each argument, such as "*bf16", "*fp32" and "i32".

    Raises triton.compiler.errors.CompilationError if the kernel does not compile.
    """
    return len(assembly(kernel, types, constants, warps)["cubin"])


def assembly(
    kernel: Any, types: dict[str, str], constants: dict[str, int | float | bool], warps: int = 4
) -> dict[str, Any]:
    """The code of `kernel` for sm_90 by stage: "ttir", "ttgir", "llir", "ptx" and "cubin"."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    ordered = {name: signature[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=ordered, constexprs=dict(constants))
    made: Any = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    return dict(made.asm)
