"""`decode: published`: a part of a take's identity, named wherever its scores are shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from longtake.jobs.results import board
from longtake.jobs.results.ranks import decode_of
from longtake.jobs.sweep.grid import expand
from longtake.platform.errors import ConfigError
from longtake.platform.store.ranks import SuiteRanks
from tests.jobs import tiny

WAN = ["backbones=[longlive]", "suites=[classical]", "lengths_s=[30]"]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))


def test_a_published_decode_is_another_take_with_fewer_frames(tmp_path: Path) -> None:
    file = tiny.write_sweep(tmp_path)
    stream, same, published = (
        expand(file, [*WAN, *words], need_weights=False).takes
        for words in ([], ["decode=stream"], ["decode=published"])
    )
    assert [take.id for take in stream] == [take.id for take in same]
    assert not {take.id for take in stream} & {take.id for take in published}
    assert (stream[0].num_frames, published[0].num_frames) == (477, 474)
    assert [replace(published[0], latent_frames=n).num_frames for n in (3, 60, 63, 960)] == [9, 237, 246, 3792]
    assert (decode_of(stream), decode_of(published)) == (None, "published")


def test_samplers_get_it_and_titles_say_it(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), [*WAN, "decode=published"], need_weights=False)
    assert grid.resources(tmp_path).decode == "published"
    title = board.title_of("s", "vbench-long", SuiteRanks(protocol="exact", decode="published", precision="fp8"))
    assert title == "s: vbench-long (exact, made in fp8, published decode)"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["decode=official"], "decode: 'official' is not stream or published"),
        (["decode=published"], "decode: backbone tiny has no 'published' decode; set stream"),
    ],
)
def test_what_is_refused(words: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        expand(tiny.write_sweep(tmp_path), words)
    assert line in str(error.value)
