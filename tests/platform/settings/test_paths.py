"""Paths of users: `~` and `$NAME` never become names of folders, and addresses of servers stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longtake.jobs.corpus.spec import CorpusConfig
from longtake.jobs.embedder.train import EmbedderJob
from longtake.jobs.sweep.spec import SweepConfig, TrackingConfig, WorkersConfig
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.rag import Rag
from longtake.platform.settings import config
from longtake.platform.settings.paths import expanded, expanded_word


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("SCRATCH", "/scratch/7")
    monkeypatch.delenv("NOWHERE", raising=False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "/home/ada"),
        ("~/runs", "/home/ada/runs"),
        ("$HOME/runs", "/home/ada/runs"),
        ("/data/$SCRATCH.d/${HOME}", "/data//scratch/7.d//home/ada"),
        ("runs/a~b", "runs/a~b"),
        ("sqlite:///~/m.db", "sqlite:////home/ada/m.db"),  # three slashes and an absolute path
        ("file:///~/m", "file:///home/ada/m"),
        ("file://$SCRATCH/m", "file:///scratch/7/m"),
        ("http://ada:pa$HOME@host/~", "http://ada:pa$HOME@host/~"),
        ("models:/embedder@best", "models:/embedder@best"),
    ],
)
def test_what_a_path_means(written: str, meant: str) -> None:
    assert expanded(written) == meant


def test_what_is_not_known_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the environment variable NOWHERE is not set; write the path out"):
        expanded("$NOWHERE/runs")
    with pytest.raises(ConfigError, match="no home folder is known for '~no-such-user'"):
        expanded("~no-such-user/runs")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/v", "/home/ada/v"),
        ("--out=~/s.json", "--out=/home/ada/s.json"),
        ("$HOME/v", "/home/ada/v"),
        ("--out=$SCRATCH/s", "--out=/scratch/7/s"),
        ("a$HOME", "a$HOME"),  # a shell has expanded what it should
        ("output=~/x", "output=~/x"),  # the file's key decides
        ("--vbench-out", "--vbench-out"),
    ],
)
def test_words_of_a_command_line(written: str, meant: str) -> None:
    assert expanded_word(written) == meant


SWEEP: dict[str, Any] = {
    "name": "s",
    "backbones": ["pocket"],
    "methods": ["native"],
    "lengths_s": [1],
    "prompts": ["p"],
}


@pytest.mark.parametrize(
    ("schema", "params", "key"),
    [
        (SweepConfig, SWEEP, "output"),
        (CorpusConfig, {"name": "c", "latents": "x"}, "output"),
        (CorpusConfig, {"name": "c"}, "latents"),
        (EmbedderJob, {"name": "e", "corpus": "c"}, "output"),
        (EmbedderJob, {"name": "e"}, "corpus"),
        (TrackingConfig, {}, "uri"),
        (WorkersConfig, {}, "evaluator_python"),
        (BankCapacity, {}, "disk"),
        (Rag, {}, "descriptor"),
    ],
)
def test_every_key_that_is_a_path(schema: Any, params: dict[str, Any], key: str) -> None:
    assert getattr(config.build(schema, params | {key: "~/a"}, "f.yaml"), key) == "/home/ada/a"
    with pytest.raises(
        ConfigError, match=rf"f\.yaml: {key}: '\$NOWHERE/a': the environment variable NOWHERE is not set"
    ):
        config.build(schema, params | {key: "$NOWHERE/a"}, "f.yaml")


@pytest.mark.parametrize(("schema", "params"), [(SweepConfig, SWEEP), (CorpusConfig, {"name": "c", "latents": "x"})])
def test_plugins_are_paths_too(schema: Any, params: dict[str, Any]) -> None:
    built = config.build(schema, params | {"plugins": ["~/own.py", "my_module"]}, "f.yaml")
    assert built.plugins == ["/home/ada/own.py", "my_module"]


def test_an_override_is_like_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("{name: s, backbones: [pocket], methods: [native], lengths_s: [1], prompts: [p], output: ~/a}")
    assert config.load(file, SweepConfig).output == "/home/ada/a"
    assert config.load(file, SweepConfig, ["output=~/b"]).output == "/home/ada/b"
