"""Every route on a small sweep that was really made: what it answers, and how it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from longtake.dashboards import frames, leaderboard, training_view
from longtake.platform.errors import VideoError
from longtake.platform.prompts import Switch
from longtake.platform.store import durable
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.plans import to_lines
from longtake.platform.store.ranks import RankRow, SuiteRanks
from longtake.platform.store.records import Failure
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import PUBLISHED_DECODE, Cell
from longtake.platform.video.reading import read_frames
from longtake.platform.video.writing import VideoWriter
from tests.platform.conftest import make, make_take

from .conftest import Open

SMALL = "/api/sweeps/small"


def test_the_store_in_one_answer(client: TestClient, root: Path) -> None:
    found = client.get("/api/store").json()
    assert found["root"] == str(root)
    (sweep,) = found["sweeps"]
    updated = sweep.pop("updated_at")
    assert updated.endswith("+00:00")
    assert sweep == {
        "name": "small", "takes": 8, "made": 8, "scored": 8, "failed": 0, "running": 0, "suites": ["classical"],
        "seconds": [3, 6], "backbones": ["tiny"], "methods": ["native", "rag"], "prompts": 2, "mlflow": None,
    }  # fmt: skip
    assert [(one["name"], one["step"]) for one in found["trainings"]] == [("toy", 3)]
    assert found["evaluations"] == [{"name": "eval-1", "figures": ["loss"]}]


def test_ranks_and_history_are_the_files(client: TestClient, small: SweepStore) -> None:
    assert client.get(f"{SMALL}/ranks").json() == json.loads((small.folder / "ranks.json").read_text())
    assert client.get(f"{SMALL}/history").json() == [json.loads((small.folder / "history.jsonl").read_text())]
    assert len(small.history()) == 1


def test_takes_are_filtered_and_paged(client: TestClient, small: SweepStore) -> None:
    plan = small.plan()
    whole = client.get(f"{SMALL}/takes").json()
    assert whole["total"] == 8
    assert [take["id"] for take in whole["takes"]] == [take.id for take in plan]
    assert {take["state"] for take in whole["takes"]} == {"scored"}
    prompts = list(dict.fromkeys(take.prompt for take in plan))
    assert whole["prompts"] == prompts
    assert all(prompts[take["prompt_index"]] == take["prompt"] for take in whole["takes"])
    # 2 methods x 2 lengths x 2 prompts: one filter halves, three leave one
    assert client.get(f"{SMALL}/takes?method=rag").json()["total"] == 4
    one = client.get(f"{SMALL}/takes", params={"method": "rag", "seconds": 6, "prompt": prompts[1]}).json()
    assert [take["id"] for take in one["takes"]] == [
        take.id for take in plan if (take.method.label, take.seconds, take.prompt) == ("rag", 6, prompts[1])
    ]
    assert client.get(f"{SMALL}/takes?method=rag&seconds=6&prompt=1").json()["takes"] == one["takes"]
    assert client.get(f"{SMALL}/takes?backbone=none").json()["total"] == 0
    assert client.get(f"{SMALL}/takes?state=planned").json()["total"] == 0
    page = client.get(f"{SMALL}/takes?offset=3&limit=2").json()
    assert (page["total"], [take["id"] for take in page["takes"]]) == (8, [take.id for take in plan[3:5]])


@pytest.mark.parametrize("query", ["offset=-1", "limit=0", "limit=1001", "limit=x", "seconds=1.5", "state=lost"])
def test_a_bad_query_is_refused_in_one_line(client: TestClient, query: str) -> None:
    answer = client.get(f"{SMALL}/takes?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert query.partition("=")[0] in answer.json()["error"]


def test_one_take(client: TestClient, small: SweepStore) -> None:
    take = small.plan()[0]
    found = client.get(f"{SMALL}/takes/{take.id}").json()
    result, scores = small.result(take.id), small.scores(take.id, "classical")
    assert result is not None
    assert scores is not None
    assert found["take"] == {"id": take.id, "cell": "tiny/native/3s", **take.to_json()}
    assert found["result"] == result.to_json()
    assert (found["state"], found["has_trace"], found["failures"]) == ("scored", True, [])
    assert (found["fps"], found["frames"], found["width"], found["height"]) == (16, take.num_frames, 128, 128)
    assert found["scores"] == {"classical": scores.to_json()}


def test_the_trace_tells_seconds(client: TestClient, small: SweepStore) -> None:
    take = small.plan()[-1]
    found = client.get(f"{SMALL}/takes/{take.id}/trace").json()
    # 16 frames a second, four for a latent frame
    assert (found["fps"], found["latent_fps"], found["frames_per_latent"]) == (16, 4, 4)
    assert found["decode_chunk"] is None
    assert found["blocks"] == small.trace(take.id)


def test_the_trace_of_a_published_decode_tells_where_it_starts_again(open_client: Open, tmp_path: Path) -> None:
    take = replace(make_take(), latent_frames=61, fingerprint=(("decode", PUBLISHED_DECODE),))
    store = SweepStore(tmp_path, "published")
    make(store, take)
    store.plan_file.write_text(json.dumps(take.to_json()) + "\n")
    found = open_client(tmp_path).get(f"/api/sweeps/published/takes/{take.id}/trace").json()
    assert found["decode_chunk"] == 60
    assert take.num_frames == 237 + 1  # a chunk of 1 + 59 * 4 frames, and the first frame of the next


def test_a_timed_prompt_is_another_prompt_than_its_first_text(open_client: Open, tmp_path: Path) -> None:
    plain, store = make_take(), SweepStore(tmp_path, "timed")
    plain = replace(plain, latent_frames=90)
    timed = replace(plain, switches=(Switch(20.0, "night", True, frame=81),))
    for take in (plain, timed):
        make(store, take)
    store.plan_file.write_bytes(to_lines([plain, timed], tmp_path))
    client, text = open_client(tmp_path), "dusk | 20 s, cut: night"
    found = client.get("/api/sweeps/timed/takes").json()
    assert found["prompts"] == ["dusk", text]
    assert [(row["prompt"], row["prompt_index"]) for row in found["takes"]] == [("dusk", 0), (text, 1)]
    (row,) = client.get("/api/sweeps/timed/takes", params={"prompt": text}).json()["takes"]
    one = client.get(f"/api/sweeps/timed/takes/{row['id']}").json()
    assert (one["take"]["id"], one["take"]["prompt"]) == (timed.id, text)
    assert one["take"]["switches"] == timed.to_json()["switches"]
    night = {"frame": 4 * 80 + 1, "text": "night", "cut": True}
    assert one["texts"] == [{"frame": 0, "text": "dusk", "cut": False}, night]


def test_a_video_comes_in_ranges(client: TestClient, small: SweepStore) -> None:
    take = small.plan()[0]
    data, result = small.video(take.id).read_bytes(), small.result(take.id)
    assert result is not None
    at, size = f"{SMALL}/takes/{take.id}/video", len(data)
    whole = client.get(at)
    tag = f'"{result.video_sha256}"'
    assert (whole.status_code, whole.content) == (200, data)
    assert (whole.headers["content-type"], whole.headers["etag"]) == ("video/mp4", tag)
    for asked, start, end in [
        ("0-99", 0, 100),
        ("100-", 100, size),
        ("-50", size - 50, size),
        (f"5-{size * 2}", 5, size),
    ]:
        part = client.get(at, headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    beyond = client.get(at, headers={"range": f"bytes={size}-"})
    assert beyond.status_code == 416
    assert client.get(at, headers={"if-none-match": tag}).status_code == 304
    # another version of the video: the range is of no use, so all of it comes
    assert client.get(at, headers={"range": "bytes=0-9", "if-range": '"other"'}).status_code == 200
    assert client.get(at, headers={"range": "bytes=0-9", "if-range": tag}).status_code == 206
    head = client.head(at)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


def test_every_frame_is_the_one_asked_for(client: TestClient, small: SweepStore) -> None:
    take = small.plan()[0]
    at = f"{SMALL}/takes/{take.id}/frame"
    wanted = np.concatenate(list(read_frames(small.video(take.id))))
    for index in (0, 1, 15, 16, 17, 31, take.num_frames - 1):
        found = frames.images(small.video(take.id), [index], 128)[0]
        assert np.array_equal(np.asarray(found), wanted[index])
        answer = client.get(f"{at}?index={index}&width=64")
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    for query in (f"index={take.num_frames}", "index=-1", "index=0&width=31", "index=0&width=641", "width=64"):
        assert client.get(f"{at}?{query}").status_code == 400


def test_neighbouring_frames_differ_where_each_is_marked(tmp_path: Path) -> None:
    """A video whose frame n is the grey of 4n: what is sought is what is found, over key frames and between."""
    path = tmp_path / "marked.mp4"
    with VideoWriter(path, fps=8, width=64, height=32) as writer:
        for n in range(40):
            writer.write(np.full((1, 32, 64, 3), 4 * n, np.uint8))
    means = [np.asarray(frames.images(path, [n], 64)[0]).mean() for n in range(40)]
    assert [round(mean / 4) for mean in means] == list(range(40))
    with pytest.raises(VideoError, match="is not in the video"):
        frames.images(path, [40], 64)


def test_a_strip_is_evenly_spaced(client: TestClient, small: SweepStore) -> None:
    take = small.plan()[0]
    answer = client.get(f"{SMALL}/takes/{take.id}/strip?count=5&width=48")
    assert Image.open(io.BytesIO(answer.content)).size == (5 * 48, 48)
    assert client.get(f"{SMALL}/takes/{take.id}/strip?count=61").status_code == 400
    # 41 frames in 5 parts of 8.2: their middles are 4.1, 12.3, 20.5, 28.7, 36.9
    assert frames.spaced(41, 5) == [4, 12, 20, 28, 36]
    assert frames.spaced(41, 1) == [20]
    assert frames.spaced(1, 3) == [0, 0, 0]


def test_pictures_are_kept_up_to_a_limit() -> None:
    made = []
    pictures = frames.Pictures(limit=10)

    def make(name: str) -> bytes:
        return pictures.get((name,), lambda: made.append(name) or b"1234")  # type: ignore[func-returns-value]

    # 4 bytes each: a and b fit into 10, c drops the least used, which is b
    for name in ("a", "b", "a", "c", "a", "b"):
        make(name)
    assert made == ["a", "b", "c", "b"]
    assert pictures.bytes == 8


def test_the_leaderboard_as_csv(client: TestClient, small: SweepStore) -> None:
    ranks = small.ranks()
    assert ranks is not None
    length = ranks.suites["classical"].lengths[1]
    answer = client.get(f"{SMALL}/leaderboard.csv?suite=classical&seconds=6&scope=overall&unit=prompt")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="small.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {(row["method"], row["seconds"]) for row in rows} == {("native", "6"), ("rag", "6")}
    told = [float(row["average_rank_per_prompt"]) for row in rows]
    assert told == sorted(told)
    for row in rows:
        (source,) = [one for one in length.overall if one.cell.method == row["method"]]
        for name, value in source.metrics.items():
            score, n, rank = row[f"{name}_value"], row[f"{name}_n"], row[f"{name}_rank"]
            assert (score, n) == (str(value.score.value if value.score.value is not None else ""), str(value.scored))
            assert rank == str(value.rank.value if value.rank.value is not None else "")
            if value.score.interval:
                assert tuple(float(row[f"{name}_{end}"]) for end in ("low", "high")) == value.score.interval
    for query, status in [("scope=all", 400), ("unit=take", 400), ("suite=none", 404), ("seconds=7", 404)]:
        assert client.get(f"{SMALL}/leaderboard.csv?{query}").status_code == status
    assert client.get(f"{SMALL}/leaderboard.csv?scope=within").text.count("\n") == 3
    (only,) = csv.DictReader(io.StringIO(client.get(f"{SMALL}/leaderboard.csv?seconds=6&unit=prompt&method=rag").text))
    assert only == next(row for row in rows if row["method"] == "rag")  # the rank is still among all
    assert client.get(f"{SMALL}/leaderboard.csv?backbone=other").text.count("\n") == 1
    assert client.get(f"{SMALL}/board.csv").text == client.get(f"{SMALL}/leaderboard.csv").text  # the earlier address


def test_no_cell_of_a_csv_is_a_formula() -> None:
    assert [leaderboard.plain(text) for text in ("=1+1", "+1", "-1", "@x", "\tx", "\rx", "rag", "", "a=b")] == [
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "rag", "", "a=b",
    ]  # fmt: skip
    assert leaderboard.plain(-0.5) == -0.5
    row = RankRow(Cell("=cmd", '@x",y', 3), Statistic(1.0), Statistic(1.0))
    text = leaderboard.table([row], ["-m"], "cell")
    head, line = csv.reader(io.StringIO(text))
    assert head[6:8] == ["frames", "'-m_value"]
    assert line[:6] == ["'=cmd", "'@x\",y", "3", "1.0", "", ""]


def test_moves_between_sweeps(open_client: Open, root: Path, small: SweepStore) -> None:
    ranks = small.ranks()
    assert ranks is not None
    later = SweepStore(root, "later")
    later.folder.mkdir()
    (later.folder / "plan.jsonl").write_bytes((small.folder / "plan.jsonl").read_bytes())
    length = ranks.suites["classical"].lengths[0]
    row = replace(length.overall[0], cell=Cell("tiny", "new", 3), average_rank=Statistic(4.0))
    suite = SuiteRanks("classical", lengths=[replace(length, overall=[row])])
    later.write_ranks(replace(ranks, suites={"classical": suite}))
    os.utime(later.folder / "ranks.json", (2e9, 2e9))
    found = open_client(root).get("/api/moves?suite=classical&seconds=3").json()
    assert found["sweeps"] == ["small", "later"]
    told = {one["cell"]: one["ranks"] for one in found["cells"]}
    assert told["tiny/new/3s"] == {"small": None, "later": 4.0}
    for one in length.overall:
        assert told[str(one.cell)] == {"small": one.average_rank.value, "later": None}
    assert open_client(root).get("/api/moves?suite=other").json() == {"sweeps": [], "cells": []}


def test_scores_of_another_video_do_not_count_as_scored(open_client: Open, root: Path, small: SweepStore) -> None:
    """The store's definition: a list, the view of the take and the counts agree with it."""
    take = small.plan()[0]
    scores = small.scores(take.id, "classical")
    assert scores is not None
    small.write_scores(take.id, replace(scores, video_sha256="0" * 64))
    client = open_client(root)
    try:
        assert client.get(f"{SMALL}/takes/{take.id}").json()["state"] == "made"
        assert [one["id"] for one in client.get(f"{SMALL}/takes?state=made").json()["takes"]] == [take.id]
        assert client.get(f"{SMALL}/progress").json()["states"]["scored"] == 7
    finally:
        small.write_scores(take.id, scores)


def test_progress_counts_states_and_tells_failures(open_client: Open, root: Path, small: SweepStore) -> None:
    first, second, third = small.plan()[:3]
    small.discard(first, "test")
    small.record_failure(first, Failure("making", "out of memory"))
    small.record_failure(first, Failure("making", "out of memory again"))
    small.discard(second, "test")
    next(small.video(third.id).parent.glob("scores/*.json")).unlink()
    client = open_client(root)
    found = client.get(f"{SMALL}/progress").json()
    assert found["states"] == {"planned": 1, "made": 1, "scored": 5, "failed": 1}
    assert [(one["take"], one["cell"], one["reason"]) for one in found["failures"]] == [
        (first.id, "tiny/native/3s", "out of memory"), (first.id, "tiny/native/3s", "out of memory again"),
    ]  # fmt: skip
    assert (found["total"], found["failures_total"]) == (8, 2)
    (row,) = client.get(f"{SMALL}/takes?state=failed").json()["takes"]
    assert (row["id"], row["failures"]) == (first.id, 2)
    assert client.get(f"{SMALL}/takes/{first.id}").json()["failures"] == ["out of memory", "out of memory again"]
    for part in ("video", "trace", "frame?index=0", "strip"):
        assert client.get(f"{SMALL}/takes/{second.id}/{part}").status_code == 404


def test_trainings_and_evaluations(client: TestClient) -> None:
    found = client.get("/api/trainings/toy").json()
    assert [row["step"] for row in found["steps"]] == [1, 2, 3]
    assert found["validation"] == [{"step": 3, "total": 0.5}]
    assert found["config"] == "name: toy\ncorpus: http://tracker.example/x\n"
    assert client.get("/api/evaluations/eval-1").json() == {"id": "1", "base": "avg-pool"}
    picture = client.get("/api/evaluations/eval-1/loss.png")
    assert (picture.headers["content-type"], picture.content) == ("image/png", b"\x89PNG figure")


def test_many_rows_are_thinned_with_both_ends() -> None:
    # 5 of 0..99: every 24.75th, rounded
    rows = training_view.thinned([{"step": n} for n in range(100)], 5)
    assert [row["step"] for row in rows] == [0, 25, 50, 74, 99]
    whole = training_view.thinned([{"step": n} for n in range(7000)])
    assert len(whole) == 2000
    assert all(a["step"] < b["step"] for a, b in pairwise(whole))


@pytest.mark.parametrize(
    "path",
    [
        "/api/sweeps/none/ranks", "/api/sweeps/none/takes", "/api/sweeps/none/events", "/api/sweeps/training/ranks",
        f"{SMALL}/takes/{'0' * 16}", f"{SMALL}/takes/{'0' * 16}/video", f"{SMALL}/takes/x", "/api/trainings/none",
        "/api/evaluations/none", "/api/evaluations/eval-1/none.png", "/api/none", "/docs", "/openapi.json",
        "/static/none.js", "/static/", f"{SMALL}/takes?prompt=9", f"{SMALL}/takes?prompt=none",
    ],
)  # fmt: skip
def test_what_is_not_there_is_404_in_one_line(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]


def test_the_page_and_its_parts(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" in page.text
    script = client.get("/static/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    version = client.get("/api/store").json()["plotly"]
    assert "immutable" in client.get(f"/static/plotly.min.js?v={version}").headers["cache-control"]
    plotly = client.get("/static/plotly.min.js")
    assert plotly.headers["cache-control"] == "no-cache"
    assert len(plotly.content) > 1_000_000
    again = client.get("/static/plotly.min.js", headers={"if-none-match": plotly.headers["etag"]})
    assert again.status_code == 304


def test_a_plan_that_grows_while_it_is_read_is_not_kept_as_it_was(
    small: SweepStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The plan is replaced between its reading and that of the sweep file beside it."""
    from longtake.dashboards import store_index

    shutil.copytree(small.folder, tmp_path / "small")
    store, takes = SweepStore(tmp_path, "small"), small.plan()
    (tmp_path / "small" / "plan.jsonl").write_bytes(durable.json_lines([one.to_json() for one in takes[:-1]]))
    index, read = store_index.StoreIndex(tmp_path), store_index.suites_of

    def replaced(of: SweepStore) -> list[str]:
        (tmp_path / "small" / "plan.jsonl").write_bytes(durable.json_lines([one.to_json() for one in takes]))
        return read(of)

    monkeypatch.setattr(store_index, "suites_of", replaced)
    index.plan(store)
    assert len(index.plan(store).takes) == len(takes)
