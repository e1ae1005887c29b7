"""No file of a store, whatever JSON it holds, makes a route fail that another file could serve."""

from __future__ import annotations

import copy
import json

import pytest
from starlette.testclient import TestClient

from longtake.platform.store.sweep import SweepStore
from tests.dashboards.test_hostile import SMALL, routes
from tests.platform.store.test_shapes import mutations

FILES = ["ranks.json", "history.jsonl", "progress.json", "TAKE/result.json", "TAKE/trace.jsonl"]
FILES += ["TAKE/failures.jsonl", "TAKE/scores/classical.json", "../training/toy/steps.jsonl"]
FILES += ["../training/toy/validation.jsonl", "../embedders/eval-1/eval.json"]


@pytest.mark.parametrize("name", FILES)
def test_any_json_is_served_around(client: TestClient, small: SweepStore, name: str) -> None:
    take = small.plan()[0].id
    path, urls = small.folder / name.replace("TAKE", f"takes/{take}"), routes(take)
    for other in ["3", "[]", '{"a": "\\ud800"}', '{"step": NaN, "running": {}}', "{", "[" * 100_000]:
        path.write_text(other + "\n")
        found = {url: client.get(url).status_code for url in urls}
        assert not {url: status for url, status in found.items() if status >= 500}, (name, other[:40])


@pytest.mark.slow
def test_ranks_with_any_changed_value_are_served_or_missing(client: TestClient, small: SweepStore) -> None:
    whole = json.loads(small.ranks_file.read_text())
    (length, *_) = whole["suites"]["classical"]["lengths"]
    length["overall"], length["within"] = length["overall"][:1], {}
    metrics = length["overall"][0]["metrics"]
    length["overall"][0]["metrics"] = dict([*metrics.items()][:1])
    small_ranks = copy.deepcopy(whole) | {"drift": whole["drift"][:1]}
    small_ranks["suites"]["classical"]["lengths"] = [length]
    for changed in mutations(small_ranks, [None, "x", [1], {}, float("nan")]):
        small.ranks_file.write_text(json.dumps(changed))
        for url in (f"{SMALL}/ranks", f"{SMALL}/leaderboard.csv"):
            assert client.get(url).status_code in (200, 404), (url, changed)
