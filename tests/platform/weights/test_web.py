"""Files of plain https addresses, from a mirror on this machine: resumed, checked, and one line for what goes wrong."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.weights import web
from longtake.platform.weights.artefacts import folder_of, state
from longtake.platform.weights.catalog import ARTEFACTS
from longtake.platform.weights.entries import Artefact, Fetch, Origin
from longtake.platform.weights.pull import import_files, pull
from tests.platform.weights.hub_server import FakeHub

HOST, PATH, NAME = "files.example.org", "models/v1/net.pth", "net"
DATA = random.Random(2).randbytes(200_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
MIB = 2**20


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(plain={f"{HOST}/{PATH}": DATA}) as running:
        monkeypatch.setenv("LONGTAKE_MIRROR", f"{running.url}/")
        yield running


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Artefact:
    return pinned(SHA256, monkeypatch)


def pinned(sha256: str, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    one = Artefact(NAME, "file", (Origin(f"https://{HOST}", (Fetch(PATH, "net.pth", sha256),)),), ("net.pth",))
    monkeypatch.setitem(ARTEFACTS, NAME, one)
    return one


def fetch(entry: Artefact) -> list[str]:
    said: list[str] = []
    pull(entry, None, said.append)
    return said


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def test_a_file_comes_by_its_address_and_says_from_where(server: FakeHub, entry: Artefact, root: Path) -> None:
    assert fetch(entry) == [f"net: fetching https://{HOST}/{PATH} (0.2 MB)"]
    assert (folder_of(NAME) / "net.pth").read_bytes() == DATA
    assert state(entry) == "ready"
    told = json.loads((root / NAME / "manifest.json").read_text())
    assert [told[key] for key in ("repo", "revision", "commit", "taken_from")] == [
        f"https://{HOST}",
        None,
        None,
        f"{server.url}/{HOST}",
    ]
    assert told["files"]["net.pth"]["sha256"] == SHA256
    assert [asked.range for asked in server.asked] == ["bytes=0-0", None]


def test_again_asks_nobody(server: FakeHub, entry: Artefact) -> None:
    fetch(entry)
    server.asked.clear()
    assert fetch(entry) == ["net: already present"]
    assert server.asked == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_what_a_cut_connection_brought_is_kept(
    server: FakeHub, root: Path, monkeypatch: pytest.MonkeyPatch, knows_ranges: bool
) -> None:
    # The client writes in pieces of 10 MiB: of 11 MiB that came, 10 MiB are kept.
    data = server.plain[f"{HOST}/{PATH}"] = random.Random(3).randbytes(12 * MIB)
    entry = pinned(hashlib.sha256(data).hexdigest(), monkeypatch)
    server.cut[f"{HOST}/{PATH}"] = 11 * MIB
    with pytest.raises(WeightsError, match=rf"https://{HOST}/{PATH}: {server.url}: .*503.*run the command again"):
        fetch(entry)
    assert state(entry) != "ready"
    server.refuses, server.knows_ranges = False, knows_ranges
    server.asked.clear()
    fetch(entry)
    assert [asked.range for asked in server.asked] == ["bytes=0-0", f"bytes={10 * MIB}-"]
    assert (folder_of(NAME) / "net.pth").read_bytes() == data
    assert files(root) == ["manifest.json", "net.pth"]


@pytest.mark.parametrize("known", ["0" * 64, "0" * 8])
def test_another_file_than_the_published_one_leaves_nothing(
    server: FakeHub, root: Path, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    with pytest.raises(WeightsError, match=r"sha256|has hash"):
        fetch(pinned(known, monkeypatch))
    assert files(root) == []


@pytest.mark.parametrize("known", [SHA256[:8], ""])
def test_part_of_a_hash_or_none_is_enough(server: FakeHub, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    entry = pinned(known, monkeypatch)
    fetch(entry)
    assert state(entry) == "ready"


def test_a_file_that_moved_is_followed_and_no_token_goes_along(
    server: FakeHub, entry: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.moved.add(f"{HOST}/{PATH}")
    fetch(entry)
    assert {asked.authorization for asked in server.asked} == {None}
    assert web.look_up(web.snapshot(entry.origins[0]), PATH).server == server.store_url


def test_what_cannot_be_is_one_line(server: FakeHub, entry: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=rf"--revision main: net comes from https://{HOST}, which has no revisions"):
        pull(entry, "main", print)
    del server.plain[f"{HOST}/{PATH}"]
    with pytest.raises(WeightsError, match=rf"/{HOST}/{PATH}: .*404"):
        fetch(entry)
    monkeypatch.setenv("LONGTAKE_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=rf"127\.0\.0\.1:9/{HOST}/{PATH}: .*run the command again"):
        fetch(entry)
    monkeypatch.setenv("LONGTAKE_MIRROR", "/mnt/mirror")
    with pytest.raises(ConfigError, match=r"LONGTAKE_MIRROR=/mnt/mirror: is not an http address; .* --from"):
        fetch(entry)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("LONGTAKE_MIRROR")
    with pytest.raises(WeightsError, match=rf"https://{HOST}/{PATH}: HF_HUB_OFFLINE is set; .*--from"):
        fetch(entry)


@pytest.mark.parametrize("layout", [f"{HOST}/{PATH}", PATH, "net.pth", "cache/deep/net.pth"])
def test_a_folder_may_mirror_the_host_or_hold_the_file_anywhere(
    layout: str, tmp_path: Path, entry: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "from" / layout
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    import_files(entry, tmp_path / "from", print)
    assert state(entry) == "ready"
    file.write_bytes(DATA + b"x")
    with pytest.raises(WeightsError, match=rf"net\.pth: has sha256 .*, the published file has {SHA256[:12]}; it"):
        import_files(entry, tmp_path / "from", print)


def test_without_a_known_hash_a_file_is_not_looked_for_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "net.pth").write_bytes(DATA)
    with pytest.raises(WeightsError, match=f"has no {HOST}/{PATH}, under this path or its file name"):
        import_files(pinned("", monkeypatch), tmp_path, print)
