"""`.ci/setup` takes the Python versions that pyproject.toml declares, and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSIONS = [f"3.{minor}" for minor in range(9, 17)]


def setup_with(version: str, folder: Path) -> str:
    """stderr and stdout of .ci/setup with a Python that says that it has this version, and cannot make a venv."""
    (folder / ".ci").mkdir()
    for name in (".ci/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    claim = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); exec(sys.argv[1])"
    python = folder / "python"
    python.write_text(
        "#!/bin/bash\n"
        f'case "$1" in --version) echo "Python {version}.0" ;; -c) exec "{sys.executable}" -c "{claim}" "$2" ;;\n'
        "*) exit 9 ;; esac\n"
    )
    python.chmod(0o755)
    run = subprocess.run(
        ["bash", folder / ".ci/setup"], env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)}, capture_output=True
    )
    assert run.returncode
    return (run.stdout + run.stderr).decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_setup_takes_the_versions_of_requires_python(version: str, tmp_path: Path) -> None:
    said = setup_with(version, tmp_path)
    if f"{version}.0" in SpecifierSet(PROJECT["requires-python"]):
        assert said == f"setup: making .venv with Python {version}.0\n"
    else:
        assert said.startswith("setup: needs Python 3.11, 3.12 or 3.13 ")
        assert f"found Python {version}.0" in said


def test_the_classifiers_and_the_readme_name_the_same_versions() -> None:
    allowed = [version for version in VERSIONS if f"{version}.0" in SpecifierSet(PROJECT["requires-python"])]
    assert [text for text in PROJECT["classifiers"] if "Python ::" in text] == [
        f"Programming Language :: Python :: {version}" for version in allowed
    ]
    assert (
        f"Python {', '.join(allowed[:-1])} or {allowed[-1]} (with its venv module)" in (ROOT / "README.md").read_text()
    )
