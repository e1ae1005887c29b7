"""A store and requests that mean harm: script strings, paths out of the store, secrets, files that change under it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.testclient import TestClient

from longtake.dashboards import live, take_states
from longtake.dashboards.app import json_text, make_app
from longtake.dashboards.guard import Guard
from longtake.dashboards.store_index import StoreIndex
from longtake.platform.store import durable
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import LengthRanks, RankRow, Ranks, SuiteRanks
from longtake.platform.store.records import Failure
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, MethodSpec, Take

from .conftest import Open

SMALL = "/api/sweeps/small"
SEED = 20
SECRET = "the-secret-beside-the-store"


def script_strings(count: int) -> list[str]:
    """Different strings that would run somewhere: as markup, in an attribute, in a script, in a spreadsheet."""
    wraps = [
        "<script>{}</script>", "<img src=x onerror={}>", "\"><svg/onload={}>", "'-{}-'", "</script><script>{}//",
        "javascript:{}", "<iframe srcdoc='<script>{}</script>'>", "\\u003cscript>{}", "{{{{{}}}}}", "${{{}}}",
        "=HYPERLINK(\"javascript:{}\")", "+cmd|' /C {}'!A0", "-2+{}", "@SUM({})", "\t={}", "<!--{}-->", "]]>{}",
        "\u2028{}\u2029", "\U0001f600<b onclick={}>", "%3Cscript%3E{}%3C/script%3E",
    ]  # fmt: skip
    return [wraps[n % len(wraps)].format(f"alert({n})") for n in range(count)]


def scripted(root: Path) -> list[str]:
    """A sweep whose prompts, backbones and methods are script strings, with ranks; returns the prompts."""
    store, texts = SweepStore(root, "scripted"), script_strings(500)
    takes = [Take(text, MethodSpec("native", text, {}), 3, 12, text, 0) for text in texts]
    store.folder.mkdir(parents=True)
    lines = "".join(json.dumps(take.to_json()) + "\n" for take in takes)
    (store.folder / "plan.jsonl").write_text(lines)
    (store.folder / "progress.json").write_text(json.dumps({"running": texts[:20], "total": texts[0]}))
    rows = [RankRow(Cell(text, text, 3), Statistic(1.0), Statistic(1.0)) for text in texts]
    length = LengthRanks(3, overall=rows, within={texts[0]: rows})
    suite = SuiteRanks("s", directions=dict.fromkeys(texts[:20], "higher"), lengths=[length])
    store.write_ranks(Ranks("scripted", suites={"s": suite}))
    return texts


def test_script_strings_come_back_as_json_alone(open_client: Open, tmp_path: Path) -> None:
    texts = scripted(tmp_path)
    client = open_client(tmp_path)
    at = "/api/sweeps/scripted"
    for path in ("/api/store", f"{at}/ranks", f"{at}/takes?limit=1000", f"{at}/progress", "/api/moves"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer.json()
    assert client.get(f"{at}/takes?limit=1000").json()["prompts"] == texts
    for text in texts[:60]:
        found = client.get(f"{at}/takes", params={"prompt": text}).json()
        assert [take["prompt"] for take in found["takes"]] == [text]


@pytest.mark.slow
def test_nothing_that_was_asked_is_said_back(client: TestClient) -> None:
    for text in script_strings(500):
        said = quote(text, safe="")
        for path in (
            f"/api/sweeps/{said}/ranks", f"{SMALL}/takes/{said}", f"{SMALL}/takes?state={said}&prompt={said}",
            f"{SMALL}/takes?seconds={said}", f"/{said}", f"/?token={said}",
        ):  # fmt: skip
            answer = client.get(path)
            if path.startswith("/?"):
                assert answer.status_code == 200
            else:
                assert answer.status_code in (400, 404)
                assert answer.headers["content-type"] == "application/json"
                assert "alert(" not in answer.text


def test_no_cell_of_a_downloaded_leaderboard_is_a_formula(open_client: Open, tmp_path: Path) -> None:
    scripted(tmp_path)
    answer = open_client(tmp_path).get("/api/sweeps/scripted/leaderboard.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert len(rows) == 501
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert sum(row[0].startswith("'=HYPERLINK") for row in rows) == 25


# Paths


def traversals(count: int) -> list[str]:
    """Ways out of a folder, towards files that lie beside the store."""
    rng = random.Random(SEED)
    ups = ["..", "%2e%2e", ".%2e", "%252e%252e", "..%00", "．．", "....", "..;", ".", "~", "%c0%ae%c0%ae", "small/.."]
    gaps = ["/", "%2f", "\\", "%5c", "%252f", "//", "/./", "∕", "%c0%af", "%00/"]
    ends = ["secret.txt", "secret", "outside", "outside/plan.jsonl", "etc/passwd", "eval.json", "figure", "app.py", ""]
    found = set()
    while len(found) < count:
        steps = [rng.choice(ups) + rng.choice(gaps) for _ in range(rng.randint(1, 6))]
        start = rng.choice(["", "/", "%2f", "file:///", "C:\\", "small", "toy/", "small%2f"])
        found.add(start + "".join(steps) + rng.choice(ends) + rng.choice(["", "", "%00", ".json", ".mp4", "?", "#"]))
    return sorted(found)


async def ask(app: Guard, paths: Iterable[str]) -> list[tuple[int, bytes]]:
    """Straight to the application, so that no client tidies a path up; decoded as a server does it."""
    found = []
    for path in paths:
        said: list[Any] = []

        async def send(message: Any, said: list[Any] = said) -> None:
            said.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
            "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")],
            "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 1), "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        found.append((said[0]["status"], b"".join(one.get("body", b"") for one in said[1:])))
    return found


def plant(root: Path) -> None:
    """Files beside the store, and links in it that lead to them."""
    outside = root.parent / "outside"
    shutil.copytree(root / "small", outside)
    for folder in (root.parent, outside, root.parent / "embedders"):
        folder.mkdir(exist_ok=True)
        for name in ("secret.txt", "secret", "eval.json", "figure.png", "config.yaml"):
            (folder / name).write_text(json.dumps({"is": SECRET}))
    (outside / "ranks.json").write_text(json.dumps({"suites": {}, "coverage": {}, "is": SECRET}))
    (root / "linked").symlink_to(outside)
    (root / "training" / "linked").symlink_to(outside)
    (root / "embedders" / "linked").symlink_to(outside)
    (root / "embedders" / "eval-1" / "leak.png").symlink_to(outside / "figure.png")


@pytest.mark.slow
def test_no_path_leads_out_of_the_store(root: Path, small: SweepStore) -> None:
    plant(root)
    take = small.plan()[0].id
    templates = [
        "/api/sweeps/{}/ranks", "/api/sweeps/{}/takes", f"/api/sweeps/{{}}/takes/{take}/video", f"{SMALL}/takes/{{}}",
        f"{SMALL}/takes/{{}}/video", f"{SMALL}/takes/{{}}/trace", "/api/trainings/{}", "/api/evaluations/{}",
        "/api/evaluations/eval-1/{}.png", "/static/{}", "/{}",
    ]  # fmt: skip
    paths = [template.format(text) for text in traversals(1000) for template in templates]
    answers = asyncio.run(ask(make_app(root), paths))
    for path, (status, body) in zip(paths, answers, strict=True):
        assert SECRET.encode() not in body, path
        assert status in (400, 404), (path, status)


def test_a_link_out_of_the_store_is_not_followed(open_client: Open, root: Path, small: SweepStore) -> None:
    plant(root)
    take = small.plan()[0]
    path = small.video(take.id)
    shutil.move(path, root.parent / "outside.mp4")
    path.symlink_to(root.parent / "outside.mp4")
    client = open_client(root)
    assert [one["name"] for one in client.get("/api/store").json()["sweeps"]] == ["small"]
    for url in (
        "/api/sweeps/linked/ranks", "/api/trainings/linked", "/api/evaluations/linked",
        "/api/evaluations/eval-1/leak.png", f"{SMALL}/takes/{take.id}/video", f"{SMALL}/takes/{take.id}/strip",
    ):  # fmt: skip
        answer = client.get(url)
        assert answer.status_code == 404, url
        assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("file", "url"),
    [
        ("small/ranks.json", f"{SMALL}/ranks"), ("small/history.jsonl", f"{SMALL}/history"),
        ("small/progress.json", f"{SMALL}/progress"), ("small/index.jsonl", f"{SMALL}/takes"),
        ("training/toy/steps.jsonl", "/api/trainings/toy"),
        ("training/toy/validation.jsonl", "/api/trainings/toy"), ("TAKE/result.json", "TAKE_URL"),
        ("TAKE/failures.jsonl", "TAKE_URL"), ("TAKE/scores/classical.json", "TAKE_URL"),
        ("TAKE/trace.jsonl", "TAKE_URL/trace"),
    ],
)  # fmt: skip
def test_no_file_of_it_may_be_a_link_out(open_client: Open, root: Path, small: SweepStore, file: str, url: str) -> None:
    take = small.plan()[0].id
    path = root / file.replace("TAKE", f"small/takes/{take}")
    outside = root.parent / "outside.json"
    outside.write_text(json.dumps({"reason": SECRET, "step": 1, "suites": {}, "coverage": {}}) + "\n")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    client = open_client(root)
    answer = client.get(url.replace("TAKE_URL", f"{SMALL}/takes/{take}"))
    assert (answer.status_code, list(answer.json())) == (404, ["error"])
    for other in ("/api/store", f"{SMALL}/progress", f"{SMALL}/takes", "/api/moves"):
        assert SECRET not in client.get(other).text


# Secrets


def routes(take: str) -> list[str]:
    """One address of every kind."""
    at = f"{SMALL}/takes/{take}"
    return [
        "/", "/static/main.js", "/static/plotly.min.js", "/api/store", f"{SMALL}/ranks", f"{SMALL}/history",
        "/api/moves", f"{SMALL}/leaderboard.csv", f"{SMALL}/board.csv", f"{SMALL}/takes", at, f"{at}/trace",
        f"{at}/video", f"{at}/frame?index=3", f"{at}/strip", f"{SMALL}/progress", "/api/trainings/toy",
        "/api/evaluations/eval-1", "/api/evaluations/eval-1/loss.png", "/api/none", f"{SMALL}/takes?limit=x",
    ]  # fmt: skip


def test_planted_secrets_are_in_no_answer(
    open_client: Open, root: Path, small: SweepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [f"hunter{n}" for n in range(2, 12)]
    for n, secret in enumerate(secrets):
        monkeypatch.setenv(f"PLANTED_{n}_PASSWORD", secret)
    text = small.sweep_file.read_text().replace(
        "uri: disabled", f"uri: https://me:{secrets[0]}@ml.example/x?key={secrets[1]}"
    )
    assert secrets[0] in text
    small.sweep_file.write_text(text)
    take = small.plan()[0]
    small.record_failure(take, Failure("making", f"cannot reach postgresql://me:p@{secrets[2]}@db/x"))
    small.write_progress({"total": 8, "running": [{"label": f"s3://key:{secrets[3]}@bucket/x"}]})
    with small.failures_file(take.id).open("a") as file:  # of a version that masked nothing
        file.write(json.dumps({"reason": f"OSError: https://host/x?token={secrets[4]}"}) + "\n")
    scores = durable.read_json(small.scores_file(take.id, "classical"))
    scores["errors"] = {"sharpness": f"https://host/x?api_key={secrets[5]}&at=1"}
    small.scores_file(take.id, "classical").write_text(json.dumps(scores))
    client = open_client(root)
    for url in routes(take.id):
        found = client.get(url).text
        assert not [secret for secret in secrets if secret in found], url
    (sweep,) = client.get("/api/store").json()["sweeps"]
    assert sweep["mlflow"] == "https://ml.example/x"
    reasons = {row["reason"] for row in client.get(f"{SMALL}/progress").json()["failures"]}
    assert reasons == {"cannot reach postgresql://db/x", "OSError: https://host/x?token=***"}
    found = client.get(f"{SMALL}/takes/{take.id}").json()
    assert found["failures"][1] == "OSError: https://host/x?token=***"
    assert found["scores"]["classical"]["errors"]["sharpness"] == "https://host/x?api_key=***&at=1"


def test_an_error_does_not_tell_where_the_store_lies(open_client: Open, root: Path, small: SweepStore) -> None:
    (small.folder / "plan.jsonl").write_text("{torn\n")
    client = open_client(root)
    answer = client.get(f"{SMALL}/takes")
    assert answer.status_code == 500
    assert answer.json()["error"] == "RUNS/small/plan.jsonl: line 1 is damaged; remove the file to plan again"
    assert (
        client.get("/api/store")
        .json()["sweeps"][0]["error"]
        .endswith("line 1 is damaged; remove the file to plan again")
    )


def test_numbers_that_are_none_are_null() -> None:
    assert json.loads(json_text({"a": [float("nan"), float("inf"), 1.5], "b": None})) == {
        "a": [None, None, 1.5],
        "b": None,
    }


# Changes under it, and none by it


def test_a_store_that_changes_under_it(open_client: Open, root: Path, small: SweepStore) -> None:
    client, take = open_client(root), small.plan()[0]
    at = f"{SMALL}/takes/{take.id}"
    whole = (small.folder / "ranks.json").read_bytes()
    for torn in (whole[: len(whole) // 2], b"", b"[]", b'{"suites": []}', b"\xff\xfe"):
        (small.folder / "ranks.json").write_bytes(torn)
        for path in ("ranks", "leaderboard.csv"):
            assert client.get(f"{SMALL}/{path}").status_code == 404
        assert client.get("/api/moves").json()["cells"] == []
    (small.folder / "ranks.json").write_bytes(whole)
    assert client.get(f"{SMALL}/ranks").status_code == 200
    result = small.video(take.id).with_name("result.json")
    kept = result.read_bytes()
    for torn in (kept[:40], b"{}"):
        result.write_bytes(torn)
        assert client.get(at).json()["state"] == "planned"
        assert client.get(f"{at}/video").status_code == 404
    result.write_bytes(kept)
    assert client.get(at).json()["state"] == "scored"
    small.video(take.id).write_bytes(b"short")
    assert client.get(at).json()["state"] == "planned"
    (small.folder / "history.jsonl").write_text('{"at": 1}\n{"at": "1"}\n{"torn')
    assert client.get(f"{SMALL}/history").json() == [{"at": "1", "average_rank": {}}]
    shutil.rmtree(small.folder)
    for path in (f"{SMALL}/ranks", f"{SMALL}/takes", at, f"{at}/video", f"{SMALL}/progress", f"{SMALL}/events"):
        assert client.get(path).status_code == 404
    assert client.get("/api/store").json()["sweeps"] == []


def test_a_video_that_cannot_be_decoded_is_an_error_in_one_line(
    open_client: Open, root: Path, small: SweepStore
) -> None:
    take = small.plan()[0]
    size = small.video(take.id).stat().st_size
    small.video(take.id).write_bytes(b"\0" * size)
    answer = open_client(root).get(f"{SMALL}/takes/{take.id}/frame?index=1")
    assert answer.status_code == 500
    assert str(root) not in answer.json()["error"]


def test_a_grown_plan_and_a_new_state_are_seen(root: Path, small: SweepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_states, "FRESH_SECONDS", 0.0)
    index = StoreIndex(root)
    assert index.counts(small) == {"planned": 0, "made": 0, "scored": 8, "failed": 0}
    small.discard(small.plan()[0], "test")
    index.scanned.scans.clear()
    assert index.counts(small)["planned"] == 1
    takes = small.plan()
    more = Take(takes[0].backbone, takes[0].method, 3, 12, "another prompt", 7)
    small.write_plan(small.config_yaml() or "", [*takes, more])
    assert len(index.plan(small).takes) == 9
    assert index.counts(small)["planned"] == 2


def test_events_tell_changes_and_the_end(root: Path, small: SweepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(live, "QUIET_SECONDS", 0.03)

    async def watch() -> list[str]:
        stream = live.events(StoreIndex(root), small, json_text, lambda: False)
        said = [await anext(stream), await anext(stream)]
        small.write_progress({"total": 8, "made": 1})
        said.append(await anext(stream))
        while said[-1].startswith(":"):
            said.append(await anext(stream))
        shutil.rmtree(small.folder)
        said += [one async for one in stream]
        return said

    said = asyncio.run(watch())
    assert json.loads(said[0].removeprefix("data: "))["made"] == 8
    assert said[1] == ": still here\n\n"
    changed = [one for one in said[2:] if one.startswith("data: ")]
    assert json.loads(changed[0].removeprefix("data: "))["made"] == 1
    assert said[-1].startswith("event: gone\ndata: ")


def test_streams_end_with_the_server(root: Path, small: SweepStore) -> None:
    async def watch() -> list[str]:
        return [one async for one in live.events(StoreIndex(root), small, json_text, lambda: True)]

    assert asyncio.run(watch()) == []


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and hash of everything in a folder, folders too."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest())
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def test_it_never_writes(client: TestClient, root: Path, small: SweepStore) -> None:
    before = snapshot(root)
    for take in small.plan():
        for url in routes(take.id):
            assert client.get(url).status_code in (200, 400, 404)
    assert snapshot(root) == before
