"""Runs all tests marked `gpu`, and collects no other files, which need Ray, MLflow and a browser.

Without a device the tests skip, which is the expected result of a smoke run.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # other installed plugins must not affect these tests
import pytest

from tests.gpu.report import Report

ROOT = Path(__file__).resolve().parents[2]
HEAVY = re.compile(r"^(?:import|from) (?:ray|mlflow|playwright|fastapi)\b", re.MULTILINE)
MARK = "mark." + "gpu"


class Outcomes:
    """A pytest plugin that counts outcomes and reports every failure, with its first lines, as it happens."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.count(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            self.count(report)

    def count(self, result: Any) -> None:
        self.counts[result.outcome] += 1
        if result.outcome == "failed":
            self.report.row(result.nodeid.rpartition("/")[2], "FAILED", "", last_line(result))


def last_line(report: Any) -> str:
    """The error of a failed test: the lines that pytest marks with E."""
    lines = [line[1:].strip() for line in str(report.longrepr).splitlines() if line.startswith("E ")]
    return " ".join(lines[:2])[:160] or str(report.longrepr)[-160:]


def marked_files() -> list[Path]:
    """Test files with the mark, the engine's first, except those that import packages missing on a GPU machine."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"), key=lambda path: ("platform" not in path.parts, path))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    return [path for path, text in texts.items() if MARK in text and not HEAVY.search(text)]


def main() -> int:
    report = Report("tests")
    outcomes = Outcomes(report)
    options = ["-v", "-p", "no:cacheprovider", "--tb=short", "--durations=5", "--continue-on-collection-errors"]
    files = [str(path.relative_to(ROOT)) for path in marked_files()]
    os.chdir(ROOT)
    code = pytest.main([*options, "-m", "gpu", *files], plugins=[outcomes])
    for name, count in outcomes.counts.items():
        report.row(name, float(count), "tests")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
