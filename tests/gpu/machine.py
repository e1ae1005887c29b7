"""What the numbers were measured on: device, driver, versions, memory, and which code."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import torch

from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, on_gpu, sized

PACKAGES = ("numpy", "triton", "diffusers", "transformers", "deepspeed", "av", "flash-attn")


def output(*command: str) -> str:
    """What a program prints, or why it does not run."""
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
    """Where `longtake` comes from: a run of another checkout's code would be no measurement of this one."""
    import longtake.jobs.bench.options as options

    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(options.__file__))))


def gpu() -> dict[str, str]:
    asked = "name,driver_version,power.limit,clocks.max.sm,memory.total,compute_mode,mig.mode.current"
    properties = torch.cuda.get_device_properties(DEVICE)
    return {
        "device": f"{properties.name}, {properties.multi_processor_count} multiprocessors",
        "device memory": f"{properties.total_memory / 2**30:.1f} GiB",
        "nvidia-smi": output("nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"),
        "CUDA, cuDNN": f"{torch.version.cuda}, {torch.backends.cudnn.version()}",
        "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
    }


def facts() -> dict[str, str | Callable[[], str]]:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": os.environ.get("COMMAND", "tests/gpu/run.sh"),
        "commit": os.environ.get("COMMIT") or output("git", "rev-parse", "--short=12", "HEAD"),
        "code": code,
        "python, torch": f"{platform.python_version()}, {torch.__version__}",
        "packages": ", ".join(f"{package} {installed(package)}" for package in PACKAGES),
        "host": f"{platform.machine()}, kernel {platform.release()}, {os.cpu_count()} cores",
        "host memory": f"{memory.total / 2**30:.0f} GiB, {memory.available / 2**30:.0f} free",
        "threads": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}",
    }


def product(report: Report) -> None:
    """The rate that everything else is read against."""
    from tests.gpu.clock import device_ms
    from tests.gpu.setting import DTYPE

    size = sized(8192, 256)
    a, b = (torch.randn(size, size, device=DEVICE, dtype=DTYPE) for _ in range(2))
    report.measure(f"product {size} x {size} x {size}", lambda: device_ms(lambda: a @ b), tflop=2 * size**3 / 1e12)
    report.measure(
        f"copy of {a.nbytes / 1e6:.0f} MB, read and written", lambda: device_ms(a.clone), 0, 2 * a.nbytes / 1e9
    )


def main() -> int:
    report = Report("machine")
    for name, value in {**facts(), **(gpu() if on_gpu() else {"device": "CPU (smoke run)"})}.items():
        with report.guard(name):
            report.row(name, value if isinstance(value, str) else value())
    product(report)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
