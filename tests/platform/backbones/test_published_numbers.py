"""Pickles as Wan2.1 and LongLive publish them, imported and converted, give the numbers of their authors' code."""

from pathlib import Path

import pytest

from tests.platform.backbones.published_numbers import PARTS

GOLDEN = Path(__file__).parents[2] / "golden" / "wan"


@pytest.mark.parametrize("name", PARTS)
def test_it_gives_the_numbers_of_the_authors_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    part, tolerance = PARTS[name]
    (tmp_path / "pickles").mkdir()
    assert part(GOLDEN, tmp_path / "pickles") < tolerance
