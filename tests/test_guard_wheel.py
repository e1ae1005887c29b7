"""The wheel holds what the checkout holds; an editable install would hide what packaging leaves out."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("platform", "trainers", "evaluators", "jobs", "dashboards")

# Imports every module of the unpacked wheel, with the checkout's own install out of the way.
IMPORT_ALL = """
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [str(folder)] + [path for path in sys.path if "__editable__" not in path]
for path in sorted((folder / "longtake").rglob("*.py")):
    parts = path.relative_to(folder).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert module.__file__ == str(path), (module.__file__, path)
"""

# The last line of `longtake plan demo` with the unpacked wheel alone.
PLAN_DEMO = (
    IMPORT_ALL.partition("for path in sorted")[0]
    + """
from longtake.jobs.cli import execute
assert execute(["plan", "demo"]) == 0
"""
)


def shipped_files() -> set[str]:
    """Files of the five folders that are part of the project, not leftovers of a run."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode == 0 and listing.stdout:
        return {name for name in listing.stdout.splitlines() if (ROOT / name).is_file()}
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*shipped_files(), "pyproject.toml", "LICENSE", "README.md"]:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


def test_every_file_of_the_five_folders_is_in_the_wheel(wheel: Path) -> None:
    missing = sorted(name for name in shipped_files() if not (wheel / "longtake" / name).is_file())
    assert missing == [], "list the folder or the kind of file in pyproject.toml (packages, package-data)"
    assert not (wheel / "longtake" / "__init__.py").exists()


def test_every_module_imports_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, str(wheel)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_shipped_sweep_is_found_by_name_in_the_wheel(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAN_DEMO, str(wheel)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "to do: make 128 takes" in done.stdout
