"""Stored JSON of another shape costs one take at most: the sweep goes on and says which file it could not read."""

from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.platform.store.sweep import SweepStore
from tests.jobs import tiny


@pytest.mark.slow
def test_one_bad_record_does_not_stop_the_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(tiny.write_sweep(tmp_path)), "lengths_s=[3]", "methods=[native]"]
    assert execute(words) == 0
    store = SweepStore(tmp_path / "runs", "small")
    bad, other = store.plan()
    kept = store.result_file(bad.id).read_bytes()
    store.result_file(bad.id).write_text('{"take_id": [], "video_bytes": "many"}')
    store.scores_file(other.id, "classical").write_text('{"suite": "classical", "metrics": []}')
    store.failures_file(other.id).write_text('[]\n{"stage": 3}\n{"reason": null}\n7\n')
    for file in (store.ranks_file, store.history_file, store.progress_file):
        file.write_text('{"suites": [], "at": {}, "running": 3}\n')
    capfd.readouterr()
    assert execute(words) == 3
    out = capfd.readouterr().out
    assert f"set aside after 3 failed attempts; the last: RecordError: {store.result_file(bad.id)}: is no record" in out
    assert store.scores(other.id, "classical") is not None
    ranks = store.ranks()
    assert ranks is not None
    assert (ranks.coverage["classical"].takes, ranks.coverage["classical"].scored) == (2, 1)
    assert store.video(bad.id).exists()
    store.result_file(bad.id).write_bytes(kept)
    assert execute(words) == 0
    assert store.scores(bad.id, "classical") is not None
