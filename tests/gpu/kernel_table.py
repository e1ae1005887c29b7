"""The kernels of a piece of work, from torch.profiler, with their time by class of work and by name."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from tests.gpu.report import Report
from tests.gpu.setting import on_gpu, sized, synchronize

CLASSES = (
    ("attention", r"sdpa|flash|fmha|attention"),
    ("rotation", r"rotat|rope|rotary"),
    ("convolution", r"conv|fprop|implicit_gemm|nchwTo|nhwcTo|cudnn"),
    ("product", r"nvjet|gemm|cutlass|xmma|cublas|splitk|addmm|bmm|::mm$|matmul|scaled_mm"),
    ("memcpy", r"memcpy|memset"),
    ("fused by the compiler", r"^triton_"),
    ("norm", r"norm"),
    ("copy, cast", r"copy|catarray"),
    ("reduction", r"reduce|softmax"),
    ("pointwise", r"elementwise|vectorized|unrolled|gelu|silu|::(add|mul|addcmul|clamp)_?$"),
)
"""The first pattern found in a name decides. The names of cuDNN's attention kernels contain `cudnn`."""


@dataclass(frozen=True)
class Kernel:
    """One launch: its name, and its start and end in milliseconds."""

    name: str
    start: float
    end: float


def class_of(name: str) -> str:
    return next((label for label, pattern in CLASSES if re.search(pattern, name, re.IGNORECASE)), "other")


def kernels_of(call: Callable[[], object]) -> tuple[list[Kernel], float]:
    """Every kernel that `call` launches, and the wall time of `call` in ms. On a CPU: operators that call no others.

    Raises RuntimeError if the profiler records no kernel, for example without CUPTI.
    """
    from torch.profiler import ProfilerActivity, profile

    synchronize()
    watched = [ProfilerActivity.CUDA if on_gpu() else ProfilerActivity.CPU]
    with profile(activities=watched, acc_events=True) as recorded:
        started = time.perf_counter()
        call()
        synchronize()
        wall = (time.perf_counter() - started) * 1e3
    kernels = [as_kernel(event) for event in recorded.events() if is_work(event)]
    if not kernels:
        raise RuntimeError("the profiler recorded no kernel; is CUPTI installed, and may this user profile?")
    return kernels, wall


def is_work(event: torch.autograd.profiler_util.FunctionEvent) -> bool:
    """Whether the event is a kernel or a copy, and not a range that spans others."""
    if getattr(event, "is_user_annotation", False) or event.name.startswith(("##", "Torch-Compiled", "ProfilerStep")):
        return False
    if on_gpu():
        return event.device_type == torch.autograd.DeviceType.CUDA
    return not event.cpu_children


def as_kernel(event: torch.autograd.profiler_util.FunctionEvent) -> Kernel:
    return Kernel(event.name, event.time_range.start / 1e3, event.time_range.end / 1e3)


def busy_ms(kernels: Iterable[Kernel]) -> float:
    """Milliseconds in which at least one kernel ran. Overlaps count once, gaps between launches do not count."""
    total, reached = 0.0, float("-inf")
    for kernel in sorted(kernels, key=lambda one: one.start):
        total += max(0.0, kernel.end - max(kernel.start, reached))
        reached = max(reached, kernel.end)
    return total


def totals(kernels: Iterable[Kernel], label: Callable[[str], str]) -> list[tuple[str, float, int]]:
    """(label, ms, launches), longest first."""
    spent: dict[str, float] = defaultdict(float)
    launches: Counter[str] = Counter()
    for kernel in kernels:
        spent[label(kernel.name)] += kernel.end - kernel.start
        launches[label(kernel.name)] += 1
    return sorted(((name, ms, launches[name]) for name, ms in spent.items()), key=lambda one: -one[1])


def tabulate(report: Report, what: str, call: Callable[[], object], longest: int = 8) -> None:
    """Add rows for `call` to the report: busy time, classes, longest kernels, and the attention kernel that ran."""
    with report.guard(f"{what}: kernels"):
        kernels, wall = kernels_of(call)
        report.row(f"{what}: device busy", busy_ms(kernels), "ms", f"of {wall:.1f} ms, {len(kernels)} kernels")
        summed = sum(kernel.end - kernel.start for kernel in kernels)
        for label, ms, launches in totals(kernels, class_of):
            report.row(f"{what}: {label}", ms, "ms", f"{ms / summed:.1%} in {launches} kernels")
        for name, ms, launches in totals(kernels, short)[: sized(longest, 2)]:
            report.row(f"{what}: kernel {name}", ms, "ms", f"{launches} times")
        attention = [kernel for kernel in kernels if class_of(kernel.name) == "attention"]
        if attention:
            report.row(f"{what}: attention ran as", short(totals(attention, str)[0][0]))


def short(name: str) -> str:
    """A kernel's name without C++ return types and namespaces."""
    bare = re.sub(r"^void |at::native::|\(anonymous namespace\)::|<unnamed>::", "", name)
    return bare[:48]
