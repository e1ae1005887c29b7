"""Plug-ins: where they are found, what is refused, what is hashed, and how they get into another process."""

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from longtake.platform import plugins
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import methods
from longtake.platform.methods.native import Native

METHOD = """
from dataclasses import dataclass
from longtake.platform.methods.base import methods
from longtake.platform.methods.native import Native

@methods.register("mine")
@dataclass(frozen=True)
class Mine(Native):
    pass
"""


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """The path of a sweep file; what its plug-ins leave in the process is removed."""
    yield tmp_path / "sweep.yaml"
    for one in list(plugins.installed.values()):
        one.remove()


def write(beside: Path, text: str = METHOD, name: str = "my_module") -> Path:
    path = beside.parent / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["my_module", "my_module.py", "../{folder}/my_module"])
def test_a_file_beside_the_sweep_is_found(beside: Path, name: str) -> None:
    digest = hashlib.sha256(write(beside).read_bytes()).hexdigest()
    found = plugins.load([name.format(folder=beside.parent.name)], beside)
    assert found.names == ("my_module",)
    assert found.modules[0].parts == [("method", "mine")]
    assert plugins.fingerprint(methods.get("mine")) == {"plugin.my_module": digest}
    assert plugins.fingerprint(Native) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", r"my_module\.py:1: registers nothing; give a part a name"),
        ("x = (\n", r"my_module\.py:1: the plug-in cannot be imported: SyntaxError: '\(' was never closed"),
        (
            "\nimport a_missing_one\n",
            r"my_module\.py:2: .*ModuleNotFoundError: No module named 'a_missing_one'; fix it",
        ),
        ("\n\nraise SystemExit(3)\n", r"my_module\.py:3: the plug-in cannot be imported: SystemExit: 3; fix it"),
        (
            METHOD.replace("mine", "rag"),
            r"my_module\.py:6: .*'rag' is registered twice: longtake.*Rag and my_module\.Mine",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(beside: Path, text: str, reason: str) -> None:
    write(beside, text)
    known = methods.names()
    for _ in range(2):
        with pytest.raises(ConfigError, match=reason) as caught:
            plugins.load(["my_module"], beside)
        assert "\n" not in str(caught.value)
    assert methods.names() == known
    assert methods.get("rag").__module__ == "longtake.platform.methods.rag"


def test_names_that_cannot_be_are_refused(beside: Path) -> None:
    for name, reason in [
        ("missing", r"sweep\.yaml: plugins: neither a file .*missing\.py nor a module 'missing' exists"),
        ("json", r"json\.py: another module already has the name 'json'; rename the file"),
        ("longtake", r"another module already has the name 'longtake'"),
        ("my-module", r"'my-module' is not a valid Python module name"),
    ]:
        if name != "missing":
            write(beside, name=name)
        with pytest.raises(ConfigError, match=reason):
            plugins.load([name], beside)
    write(beside, name="sub/my_module")
    write(beside)
    with pytest.raises(ConfigError, match="another module already has the name 'my_module'"):
        plugins.load(["my_module", "sub/my_module"], beside)


def test_an_edited_plugin_replaces_the_old_one(beside: Path) -> None:
    write(beside)
    old = plugins.load(["my_module"], beside).modules[0]
    write(beside, METHOD.replace("mine", "mine-2"))
    new = plugins.load(["my_module"], beside).modules[0]
    assert old.sha256 != new.sha256
    assert "mine-2" in methods.names()
    assert "mine" not in methods.names()


def test_a_file_that_a_plugin_imports_comes_along_and_counts(beside: Path) -> None:
    write(beside, METHOD.replace("from data", "import my_helper\nfrom data").replace("pass", "size = my_helper.SIZE"))
    write(beside, "SIZE = 3\n", "my_helper")
    first = plugins.load(["my_module"], beside)
    assert [one.name for one in first.modules] == ["my_helper", "my_module"]
    assert methods.get("mine").size == 3  # type: ignore[attr-defined]
    write(beside, "SIZE = 4\n", "my_helper")
    second = plugins.load(["my_module"], beside)
    assert methods.get("mine").size == 4  # type: ignore[attr-defined]
    prints = plugins.fingerprint(methods.get("mine"))
    assert prints == {"plugin.my_module": second.modules[1].sha256} != {"plugin.my_module": first.modules[1].sha256}


def test_another_process_needs_no_file(beside: Path, tmp_path: Path) -> None:
    """The record comes first in the pickle: what is after it may be of classes that the plug-in defines."""
    path = write(beside)
    found = plugins.load(["my_module"], beside)
    payload = pickle.dumps((found, methods.get("mine")(window=9)))
    path.unlink()
    code = (
        "import pickle, sys\nfound, config = pickle.load(sys.stdin.buffer)\n"
        "from longtake.platform import plugins\nprint(config, plugins.fingerprint(type(config)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=payload, capture_output=True, cwd=tmp_path, check=False)
    said = f"Mine(window=9, sink=None, recache=None) {plugins.fingerprint(methods.get('mine'))}\n"
    assert done.stdout.decode() == said, done.stderr.decode()


def look_up(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code where the packages of `folder` are installed."""
    environment = {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}", "PATH": ""}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_installed_packages_announce_plugins(tmp_path: Path) -> None:
    package, info = tmp_path / "their_package", tmp_path / "their_package-1.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(METHOD)
    (info / "METADATA").write_text("Name: their_package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[longtake.plugins]\ntheirs = their_package.parts\n")
    code = (
        "from longtake.platform.methods.base import methods\nfrom longtake.platform import plugins\n"
        "print(plugins.fingerprint(methods.get('mine')), plugins.fingerprint(methods.get('native')))"
    )
    first = look_up(tmp_path, code)
    assert first.stdout.startswith("{'plugin.their_package': '"), first.stderr
    assert first.stdout.endswith(" {}\n")
    (package / "other.py").write_text("x = 1\n")
    assert look_up(tmp_path, code).stdout not in ("", first.stdout), "any file of the package counts"
    (package / "parts.py").write_text("1 / 0\n")
    broken = look_up(tmp_path, code)
    assert "parts.py:1: the plug-in cannot be imported: ZeroDivisionError" in broken.stderr


def test_an_installed_module_must_be_the_same_everywhere(tmp_path: Path) -> None:
    (tmp_path / "their_module.py").write_text(METHOD)
    code = (
        "from pathlib import Path\nfrom dataclasses import replace\nfrom longtake.platform import plugins\n"
        "one = plugins.load(['their_module'], Path('elsewhere/sweep.yaml')).modules[0]\n"
        "print(one.parts, one.source)\nplugins.installed.clear()\nreplace(one, sha256='0').install()"
    )
    done = look_up(tmp_path, code)
    assert done.stdout == "[('method', 'mine')] None\n"
    assert "their_module: differs from the driver's version; install the same version on every node" in done.stderr
