"""`longtake remake`: a take again, in a folder of its own, and whether its pixels are equal."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from longtake.jobs.cli import execute
from longtake.jobs.sweep.grid import expand
from longtake.jobs.upkeep.remake import compare, find
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from longtake.platform.video.difference import difference
from longtake.platform.video.writing import VideoWriter
from tests.jobs import tiny


def video(path: Path, shades: list[int]) -> Path:
    with VideoWriter(path, width=64, height=64) as writer:
        writer.write(np.array(shades, np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8))
    return path


def commit(store: SweepStore, take: Take, shade: int, **facts: object) -> TakeResult:
    with store.open_take(take) as writer:
        with VideoWriter(writer.video_path, width=64, height=64) as made:
            made.write(np.full((take.num_frames, 64, 64, 3), shade, np.uint8))
        info = made.close()
        record = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
        result = TakeResult(take.id, *record, versions={"torch": "2.6"} | {k: str(v) for k, v in facts.items()})
        writer.commit(result)
    return result


def test_a_difference_counts_frames_and_its_size(tmp_path: Path) -> None:
    """Grey levels survive H.264 to within 2 of 255."""
    one, same = video(tmp_path / "a.mp4", [100] * 8), video(tmp_path / "b.mp4", [100] * 8)
    assert difference(one, same).is_none
    assert difference(one, same).psnr == float("inf")
    other = difference(one, video(tmp_path / "c.mp4", [140] * 8))
    assert (other.frames, other.total) == (8, 8)
    assert abs(other.largest - 40) <= 2
    longer = difference(one, video(tmp_path / "d.mp4", [100] * 10))
    assert longer.total == 10
    assert longer.frames >= 2


@pytest.mark.parametrize(
    ("shade", "code", "said"), [(100, 0, "equal: the file has the same bytes"), (140, 1, "different: 45 of 45")]
)
def test_what_differs_is_said(
    tmp_path: Path, shade: int, code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = expand(tiny.write_sweep(tmp_path))
    store, copy, take = SweepStore(tmp_path / "runs", "small"), SweepStore(tmp_path / "remade", "small"), grid.takes[0]
    commit(store, take, 100)
    made = commit(copy, take, shade, torch="2.7")
    code = int(shade != 100)
    assert compare(take, store, copy, made, Console(width=200), batch=4) == code
    out = capfd.readouterr().out
    assert said.replace("45", str(take.num_frames)) in out
    assert ("torch: was 2.6, is 2.7" in out) == bool(code)
    assert "workers.batch" not in out  # a CPU rounds a batch as it rounds a single take


@pytest.mark.parametrize(("batch", "said"), [(1, False), (4, True)])
def test_a_gpu_rounds_a_batch_in_another_way(
    tmp_path: Path, batch: int, said: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    take = expand(tiny.write_sweep(tmp_path)).takes[0]
    store, copy = SweepStore(tmp_path / "runs", "small"), SweepStore(tmp_path / "remade", "small")
    commit(store, take, 100)
    made = commit(copy, take, 140, device="NVIDIA H100")
    assert compare(take, store, copy, made, Console(width=200), batch) == 1
    assert ("note: the sweep generates up to 4 takes together (workers.batch)" in capfd.readouterr().out) == said


def test_a_take_is_found_by_its_id_and_by_its_folder(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path))
    store, take = SweepStore(tmp_path / "runs", "small"), grid.takes[1]
    store.write_plan(grid.config_yaml, grid.takes)
    commit(store, take, 100)
    assert find(take.id, tmp_path / "runs")[1] == take
    assert find(str(store.video(take.id).parent), tmp_path)[1] == take
    with pytest.raises(ConfigError, match=r"no take of that id.*small.*--runs"):
        find("0" * 16, tmp_path / "runs")


def test_another_sweep_with_a_damaged_plan_hides_no_take(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path))
    store, damaged = SweepStore(tmp_path / "runs", "small"), SweepStore(tmp_path / "runs", "a")
    store.write_plan(grid.config_yaml, grid.takes)
    damaged.write_plan(grid.config_yaml, grid.takes[:1])
    damaged.plan_file.write_text("{")
    assert find(grid.takes[0].id, tmp_path / "runs")[0].name == "small"
    with pytest.raises(StorageError, match=r"a/plan\.jsonl: line 1 is damaged"):
        find("0" * 16, tmp_path / "runs")  # the take may be one of the plan that cannot be read


def test_only_the_take_is_needed_not_what_else_its_sweep_names(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the weights of a suite, nor a registered model, nor another backbone of the sweep has to be here."""
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "none"))
    grid = expand(tiny.write_sweep(tmp_path), ["lengths_s=[3]", "methods=[native]"])
    store, take = SweepStore(tmp_path / "runs", "small"), grid.takes[0]
    elsewhere = grid.config_yaml.replace("- classical", "- vbench-long").replace("- tiny", "- tiny\n- longlive")
    elsewhere = elsewhere.replace("methods:\n", "methods:\n- rag: {descriptor: 'models:/emb@best'}\n")
    store.write_plan(elsewhere, grid.takes)
    commit(store, take, 100)
    words = ["remake", take.id, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "again")]
    assert execute(words) == 1  # the video of the store is grey
    assert "different: " in capfd.readouterr().out
    copy = SweepStore(tmp_path / "again", "small")
    assert copy.is_done(take)
    assert copy.sweep_file.read_text() == elsewhere
    assert not list(copy.folder.rglob(".tmp-*"))


@pytest.mark.slow
def test_a_take_made_again_has_equal_pixels_and_its_sweep_is_untouched(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["run", str(tiny.write_sweep(tmp_path)), "--max-takes", "1"]) == 0
    store = SweepStore(tmp_path / "runs", "small")
    (take_id,) = store.done_ids()
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*") if path.is_file()}
    words = ["remake", take_id, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "again")]
    capfd.readouterr()
    assert execute(words) == 0
    assert "equal: the file has the same bytes" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*") if path.is_file()} == before
    assert SweepStore(tmp_path / "again", "small").done_ids() == {take_id}
    assert execute(words) == 5
    assert "is there already" in capfd.readouterr().err
    assert execute([*words[:-1], str(tmp_path / "runs")]) == 2
