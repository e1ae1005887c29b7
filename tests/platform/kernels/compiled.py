"""Triton kernels without a GPU: run in the interpreter, and compiled for an H100 by Triton's own compiler."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

KERNELS = "longtake.platform.kernels"


def interpreted(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh copy of kernel module `name` whose kernels run in Triton's interpreter, on tensors of a CPU."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    spec = importlib.util.find_spec(f"{KERNELS}.{name}")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def cubin_bytes(kernel: Any, types: dict[str, str], constants: dict[str, int | float | bool], warps: int = 4) -> int:
    """Size of `kernel` compiled for sm_90. `types`: Triton's names per argument, such as "*bf16", "*fp32" and "i32".

    Raises triton.compiler.errors.CompilationError for a kernel that does not compile.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    ordered = {name: signature[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=ordered, constexprs=dict(constants))
    made = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    return len(made.asm["cubin"])
