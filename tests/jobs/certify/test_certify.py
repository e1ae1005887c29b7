"""`longtake new` and `longtake certify`: what is written passes, what is faulty ends with 1."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

import longtake.evaluators.metrics.colour as metrics_of_colour
from longtake.jobs.certify.check import Broken
from longtake.jobs.certify.methods import METHOD_CHECKS
from longtake.jobs.certify.metrics import METRIC_CHECKS, MetricSubject
from longtake.jobs.cli import execute
from longtake.jobs.new import TEMPLATES
from longtake.platform import plugins

IMPORTS = "from longtake.platform.methods.base import methods\nfrom longtake.platform.methods.native import Native\n"
FAULTS = Path(__file__).with_name("faults")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for one in list(plugins.installed.values()):
        one.remove()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["method", "metric", "backbone"])
def test_what_new_writes_passes(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["new", kind, "try-2", "--dir", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "try_2.py"
    assert capsys.readouterr().out == f"wrote {path}; next: longtake certify {path}\n"
    assert "class Try2(" in path.read_text()
    assert execute(["certify", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{kind} try-2" in out
    assert out.endswith(f"every check passed; next: longtake new sweep NAME --dir {path.parent}\n")
    if kind == "method":
        # Window 12, sink 1: block 20 makes 60, 61, 62; the 11 newest are 52..62, of which 52 gives way to 60 - 24 = 36.
        row = "sink 0@0  retrieved 36@0  window 53@2 54@3 55@4 56@5 57@6 58@7 59@8  block 60@9 61@10 62@11"
        assert f"block 20: {row}\n" in out
    text = path.read_text()
    assert execute(["new", kind, "try-2", "--dir", str(path.parent)]) == 5
    assert "try_2.py: already exists; choose another name or remove the file" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_faulty_plugin_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["certify", str(FAULTS / "not_a_number.py")]) == 1
    out = capsys.readouterr().out
    assert "a clip is nan; raise Unscorable with the reason" in out
    assert out.endswith("failed checks: 2\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["new", "methods", "a"],
            "unknown kind 'methods'; did you mean 'method'? known: method, metric, backbone, sweep",
        ),
        (["new", "method", "3d"], "name: '3d' is not a valid Python module name"),
        (["new", "method", "native"], "name: 'native' is a shipped method; choose another name"),
        (["new", "metric", "chroma_noise"], "name: 'chroma_noise' is a shipped metric; choose another name"),
        (["new", "backbone", "pocket"], "name: 'pocket' is a shipped backbone; choose another name"),
        (["new", "method", "Mine"], "name: 'Mine' is not a name"),
        (["new", "sweep", "a", "--dir", "/proc/none"], "/proc/none/a.yaml: cannot be written: No such file"),
        (["new", "sweep", "a", "--dir", __file__], f"{__file__}: is not a folder; choose another one with --dir"),
        (["certify", "nofile.py"], "longtake: certify: nofile.py: no such file; write one with: longtake new"),
        (["certify", "/"], "certify: /: is not a Python file; give the .py file of a plug-in"),
        (["certify", str(TEMPLATES / "sweep.yaml")], "sweep.yaml: is not a Python file"),
        (["certify", metrics_of_colour.__file__], "check it with: python -m pytest tests/evaluators/metrics\n"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(arguments) in (2, 5)
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_part_that_cannot_be_made_fails_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{IMPORTS}@methods.register('needy')\nclass Needy(Native):\n    def __init__(self, size):\n        pass\n"
    (tmp_path / "needy.py").write_text(text)
    assert execute(["certify", str(tmp_path / "needy.py")]) == 1
    out = capsys.readouterr().out
    assert out.count("needy: TypeError: Needy.__init__() missing 1 required positional argument: 'size'") == 1
    assert out.count("not run") == len(METHOD_CHECKS) - 1
    assert out.endswith("failed checks: 1\n")


def test_an_error_is_located_in_the_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Line 6 calls numpy, which raises in a file of its own."""
    text = f"{IMPORTS}import numpy\n@methods.register('faulty')\nclass Faulty(Native):\n    "
    (tmp_path / "faulty.py").write_text(f"{text}def build(self, info): return numpy.concatenate([1], axis='x')\n")
    assert execute(["certify", str(tmp_path / "faulty.py")]) == 1
    assert "faulty.py:6: TypeError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mean Saturation!", "registered name: 'Mean Saturation!' is not a name: 1 to 64 of a-z 0-9"),
        ("a/b/steady", "registered name: 'b/steady' is not a name"),
        ("mine/steady", None),
    ],
)
def test_a_metric_has_a_plain_name_with_at_most_one_prefix(name: str, reason: str | None, tmp_path: Path) -> None:
    text = (TEMPLATES / "metric.py").read_text().replace('"my-metric"', f'"{name}"', 1)
    (tmp_path / "steady.py").write_text(text.replace('name = "my-metric"', 'name = "steady"'))
    plugins.load(["steady"], tmp_path / "sweep.yaml")
    with nullcontext() if reason is None else pytest.raises(Broken, match=re.escape(reason)):
        assert METRIC_CHECKS["declaration"](MetricSubject(name))
