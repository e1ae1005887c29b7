"""Blocks of native with linear layers in fp8, eager and compiled, measured like those in bf16 by `blocks`."""

import sys

from tests.gpu import blocks
from tests.gpu.report import Report
from tests.gpu.setting import on_gpu


def main() -> int:
    if on_gpu():
        return blocks.run("fp8", "fp8")
    report = Report("fp8")
    report.row("native, fp8", "not on a CPU", "", "workers.precision: fp8 needs a GPU")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
