"""Fetching with the real client from a hub on this machine: resumed, checked, and one line for whatever goes wrong."""

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from longtake.platform.errors import LongtakeError, StorageError, WeightsError
from longtake.platform.weights import hub
from tests.platform.weights.hub_server import COMMIT, FakeHub

REPO, BIG, SMALL = "owner/model", "folder/big.pt", "config.json"
DATA = random.Random(0).randbytes(300_000)
MIB = 2**20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with FakeHub({REPO: {BIG: DATA, SMALL: b'{"a": 1}', "folder/deep/x": b"x"}}, lfs={BIG}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def look_up(path: str = BIG) -> hub.Remote:
    return hub.look_up(hub.snapshot(REPO), path)


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def test_a_snapshot_is_the_commit_and_its_files(server: FakeHub) -> None:
    assert hub.snapshot(REPO, "main") == hub.Snapshot(REPO, COMMIT, (BIG, SMALL, "folder/deep/x"))


def test_large_and_small_files_arrive_whole(server: FakeHub, tmp_path: Path) -> None:
    for path in (BIG, SMALL):
        data = server.repos[REPO][path]
        assert hub.fetch(look_up(path), tmp_path / "to" / "file") == hashlib.sha256(data).hexdigest()
        assert (tmp_path / "to" / "file").read_bytes() == data
    assert not parts(tmp_path / "to")


def test_what_a_cut_connection_had_brought_is_not_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    # The client writes in pieces of 10 MiB: of 23 MiB that came, 20 MiB are kept.
    data = server.repos[REPO][BIG] = random.Random(1).randbytes(24 * MIB)
    server.cut[BIG] = 23 * MIB
    with pytest.raises(WeightsError, match=r"owner/model/folder/big\.pt: .*503.*run the command again to resume"):
        hub.fetch(look_up(), tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert [part.stat().st_size for part in parts(tmp_path)] == [20 * MIB]
    server.refuses = False
    server.asked.clear()
    hub.fetch(look_up(), tmp_path / "file")
    assert [asked.range for asked in server.asked] == [f"bytes={20 * MIB}-"]
    assert (tmp_path / "file").read_bytes() == data
    assert not parts(tmp_path)


def test_a_server_that_knows_no_ranges_gives_the_whole_file_again(server: FakeHub, tmp_path: Path) -> None:
    data = server.repos[REPO][BIG] = random.Random(1).randbytes(12 * MIB)
    server.cut[BIG] = 11 * MIB
    with pytest.raises(WeightsError):
        hub.fetch(look_up(), tmp_path / "file")
    server.refuses, server.knows_ranges = False, False
    hub.fetch(look_up(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data


def test_what_was_begun_of_another_version_is_left_aside(server: FakeHub, tmp_path: Path) -> None:
    hub.part_of(look_up(), tmp_path / "file").write_bytes(DATA[:1000])
    server.repos[REPO][BIG] = DATA[::-1]
    hub.fetch(look_up(), tmp_path / "file")
    assert [asked.range for asked in server.asked] == [None]
    assert (tmp_path / "file").read_bytes() == DATA[::-1]
    assert not parts(tmp_path)


def test_a_spoiled_beginning_never_becomes_the_file(server: FakeHub, tmp_path: Path) -> None:
    part = hub.part_of(look_up(), tmp_path / "file")
    part.write_bytes(b"x" * 1000)
    with pytest.raises(WeightsError, match=r"has hash .*, its repository lists .*; pull it again"):
        hub.fetch(look_up(), tmp_path / "file")
    assert not list(tmp_path.iterdir())
    part.write_bytes(b"x" * (len(DATA) + 1))
    hub.fetch(look_up(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("path", [BIG, SMALL])
def test_bytes_of_another_hash_are_refused_and_removed(server: FakeHub, tmp_path: Path, path: str) -> None:
    remote = look_up(path)
    data = server.repos[REPO][path]
    server.repos[REPO][path] = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(WeightsError, match="has hash"):
        hub.fetch(remote, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    server.wrong_hash = True
    with pytest.raises(WeightsError):
        hub.fetch(look_up(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch(look_up(SMALL), tmp_path / "small")
    hub.fetch(look_up(BIG), tmp_path / "big")
    assert [asked.authorization for asked in server.asked] == ["Bearer hf_secret", None]


def test_offline_asks_nobody(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"owner/model at main: HF_HUB_OFFLINE is set; .*--from"):
        hub.snapshot(REPO)


def test_what_is_not_there_is_one_line(server: FakeHub) -> None:
    with pytest.raises(WeightsError, match=r"owner/none at main: no such repository.*HF_TOKEN"):
        hub.snapshot("owner/none")
    with pytest.raises(WeightsError, match=r"owner/model at v9: .*no such revision or file; check --revision"):
        hub.snapshot(REPO, "v9")
    with pytest.raises(WeightsError, match=r"owner/model/none: .*no such revision or file"):
        look_up("none")


def test_nobody_at_the_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"main: http://127\.0\.0\.1:9: .*run the command again") as caught:
        hub.snapshot(REPO)
    assert "\n" not in str(caught.value)


def test_a_disk_without_room_is_told_before_anything_is_fetched(server: FakeHub, tmp_path: Path) -> None:
    remote = hub.Remote(hub.snapshot(REPO), BIG, "0" * 64, 10**18, server.url)
    with pytest.raises(StorageError, match=r"1000000000\.0 GB needed, .* GB free; free some space"):
        hub.fetch(remote, tmp_path / "file")
    assert not server.asked


def test_errors_cross_process_borders(server: FakeHub) -> None:
    import pickle

    with pytest.raises(LongtakeError) as caught:
        look_up("none")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_two_files_at_once_do_not_meet(server: FakeHub, tmp_path: Path) -> None:
    remotes = [look_up(path) for path in (BIG, SMALL)]
    threads = [threading.Thread(target=hub.fetch, args=(one, tmp_path / str(i))) for i, one in enumerate(remotes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / str(i)).read_bytes() for i in range(2)] == [DATA, b'{"a": 1}']
