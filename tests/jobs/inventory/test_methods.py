"""`longtake methods`: one line a method at 80 columns, and one method in full."""

import pytest

from longtake.jobs.cli import execute
from longtake.platform.methods.base import methods


@pytest.mark.slow
def test_every_method_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["method", "frames", "indices", "holds", "source", "checked"]
    rows = {line.split()[0]: line for line in lines[1 : len(methods.names()) + 1]}
    assert list(rows) == methods.names()
    assert max(map(len, lines)) <= 80
    assert rows["native"].split() == ["native", "12", "absolute", "-", "-", "golden"]
    assert rows["rag"].split() == ["rag", "12", "relative", "bank+vectors", "LongLive-RAG,", "2026", "golden"]
    assert rows["fademem"].split() == ["fademem", "15", "relative", "12", "derived", "FadeMem,", "2026", "golden"]
    assert rows["full-attention"].split() == ["full-attention", "all", "absolute", "all", "frames", "-", "by", "hand"]
    assert rows["rolling-sink"].split()[:5] == ["rolling-sink", "21", "moved", "21", "pinned"]
    assert rows["relax-forcing"].split()[2] == "moved"
    assert rows["relax-forcing"].endswith("by hand")
    assert rows["tethercache"].split()[3:5] == ["edited", "frames"]
    variants = [line.removeprefix("* ") for line in lines if line.startswith("* ")]
    assert "memrope: golden with from_zero: false" in variants
    assert "infinity-rope: golden with late_query: true, cut_to: 45" in variants
    marked = [name for name, line in rows.items() if line.endswith("golden*")]
    assert [line.split(":")[0] for line in variants] == marked
    assert rows["pyramid-forcing"].split()[:5] == ["pyramid-forcing", "9.9", "moved", "16", "entries"]


def test_one_method_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """Block 20 of Relax Forcing: sink at 56, 57, a frame of history at 58, the newest at 59, the block."""
    assert execute(["methods", "relax-forcing"]) == 0
    out = capsys.readouterr().out
    assert "Relax Forcing: sink, one frame of history" in out
    assert "  redundancy: 2.0\n" in out
    assert "attends 7 latent frames" in out
    assert "holds the bank: keys and values of all frames" in out
    assert "source: Relax Forcing, 2026; checked: by hand" in out
    (line,) = [line for line in out.splitlines() if line.startswith("  block 20:")]
    assert line.startswith("  block 20: sink 0@56 1@57  retrieved ")
    assert line.endswith("window 59@59  block 60@60 61@61 62@62")


def test_an_unknown_method_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["methods", "fadmem"]) == 2
    assert "did you mean 'fademem'?" in capsys.readouterr().err
