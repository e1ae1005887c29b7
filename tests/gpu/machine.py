"""What the numbers were measured on: device, driver, versions, memory and code."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from longtake.platform.kernels import has_triton
from tests.gpu.clock import device_ms
from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, DTYPE, on_gpu, sized

PACKAGES = ("numpy", "triton", "diffusers", "transformers", "deepspeed", "av", "flash-attn")


def output(*command: str) -> str:
    """The output of a program, or the reason why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({type(error).__name__})"
    return " ".join(done.stdout.split())


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def code() -> str:
    """Whether `longtake` is this checkout: running other code would not measure it."""
    import longtake.jobs.bench.options as options

    ours = Path(options.__file__).resolve().is_relative_to(Path(__file__).resolve().parents[2])
    return "this checkout" if ours else "NOT THIS CHECKOUT: another installed longtake"


def device() -> str:
    if not on_gpu():
        return "CPU (smoke run)"
    properties = torch.cuda.get_device_properties(DEVICE)
    memory = properties.total_memory / 2**30
    return f"{properties.name}, {properties.multi_processor_count} multiprocessors, {memory:.1f} GiB"


def driver() -> str:
    """The driver's description of the device, with its power limit and highest clock."""
    asked = "name,driver_version,power.limit,clocks.max.sm,memory.total,mig.mode.current"
    return output("nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader")


def cuda() -> str:
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, NCCL {nccl}"


def host_memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.total / 2**30:.0f} GiB, {memory.available / 2**30:.0f} free"


FACTS: dict[str, Callable[[], str]] = {
    "device": device,
    "date": lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    "command": lambda: os.environ.get("COMMAND", "python -m tests.gpu.machine"),
    "commit": lambda: os.environ.get("COMMIT") or output("git", "describe", "--always", "--dirty", "--abbrev=12"),
    "code": code,
    "python, torch": lambda: f"{platform.python_version()}, {torch.__version__}",
    "packages": lambda: ", ".join(f"{package} {installed(package)}" for package in PACKAGES),
    "host": lambda: f"{platform.machine()}, kernel {platform.release()}, {os.cpu_count()} cores",
    "host memory": host_memory,
    "kernels": lambda: "triton" if has_triton() else "torch's own: Triton, a C compiler or Python.h is missing",
    "threads": lambda: f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}",
}
OF_A_GPU: dict[str, Callable[[], str]] = {"nvidia-smi": driver, "CUDA": cuda}


def product(report: Report) -> None:
    """The rates of a large product and of a copy, to compare the other rows with."""
    size = sized(8192, 256)
    a, b = (torch.randn(size, size, device=DEVICE, dtype=DTYPE) for _ in range(2))
    report.measure(f"product {size} x {size} x {size}", lambda: device_ms(lambda: a @ b), tflop=2 * size**3 / 1e12)
    report.measure(
        f"copy of {a.nbytes / 1e6:.0f} MB, read and written", lambda: device_ms(a.clone), 0, 2 * a.nbytes / 1e9
    )


def main() -> int:
    report = Report("machine")
    for name, fact in {**FACTS, **(OF_A_GPU if on_gpu() else {})}.items():
        with report.guard(name):
            report.row(name, fact())
    with report.guard("rates"):
        product(report)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
