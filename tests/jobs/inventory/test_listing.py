"""`longtake list`: every name has one line that says what it is and whether it can run here."""

import inspect

import pytest

from longtake.evaluators.base import metrics
from longtake.jobs.cli import execute
from longtake.jobs.commands.checks import LISTED
from longtake.jobs.inventory.listing import KINDS, first_sentence
from longtake.platform.backbones.base import backbones
from longtake.platform.methods.base import methods


@pytest.mark.parametrize("kind", LISTED)
def test_every_name_has_one_line(kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert execute(["list", kind]) == 0
    header, *lines = capfd.readouterr().out.splitlines()
    assert header.split()[0] == kind
    entries = list(KINDS[kind]())
    for entry, line in zip(entries, lines, strict=False):
        name, runs, what = line.split(maxsplit=2)
        assert (name, runs) == (entry.name, "yes" if entry.runs else "no")
        assert what
    assert len(lines) - len(entries) == any(not entry.runs for entry in entries)


def test_the_kinds_of_the_help_are_those_of_the_command() -> None:
    assert tuple(KINDS) == LISTED


@pytest.mark.parametrize("registry", [backbones, methods, metrics], ids=lambda registry: registry.noun)
def test_every_shipped_part_says_what_it_is(registry) -> None:  # type: ignore[no-untyped-def]
    for name in registry.names():
        assert inspect.getdoc(registry.get(name)), name


def test_what_ships_with_weights_runs_and_what_needs_a_download_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    assert {one.name: one.runs for one in KINDS["backbones"]()}["pocket"]
    assert not {one.name: one.runs for one in KINDS["backbones"]()}["longlive"]
    runs = {one.name: one.runs for one in KINDS["sweeps"]()}
    assert runs["demo"]
    assert not runs["longlive-rag"]


def test_an_unknown_kind_names_the_known_ones(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["list", "backbone"]) == 2
    assert "did you mean 'backbones'?" in capfd.readouterr().err


def test_a_first_sentence_does_not_end_at_an_abbreviation() -> None:
    assert first_sentence("Made by Huang et al. 2025: EMA.\n  It ships. More.") == "Made by Huang et al. 2025: EMA"
