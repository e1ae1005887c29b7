"""Weights come whole or not at all, from a hub or a folder; they are converted once, recorded and verified."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from longtake.platform.errors import ConfigError, LongtakeError, WeightsError
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.spec import DiTSpec
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import (
    artefact_file,
    artefact_folder,
    folder_of,
    missing_patterns,
    recorded_sha256,
    state,
    weights_root,
)
from longtake.platform.weights.catalog import ARTEFACTS, GROUPS, SOURCE, artefact, groups_with, select
from longtake.platform.weights.check import check_weights, verify
from longtake.platform.weights.convert import convert
from longtake.platform.weights.pull import import_files, pull
from tests.platform.models.text import small_encoder
from tests.platform.weights.hub_server import COMMIT, FakeHub

TINY = DiTSpec(16, 24, 2, 2, 4, 4, 4, 6, 10, freq_dim=8)
NAME, REPO, PATH = "self-forcing-generator", "gdhe17/Self-Forcing", "checkpoints/self_forcing_dmd.pt"
PICKLE = SOURCE + "self_forcing_dmd.pt"
OTHER = "0123456789" * 4


def generator(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {f"model.{name}": value for name, value in CausalDiT(TINY).state_dict().items()}


def pickled(value: object) -> bytes:
    buffer = BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def networks(_: str) -> list[nn.Module]:
    with torch.device("meta"):
        return [CausalDiT(TINY)]


def check(one: object, weights: dict[str, Tensor], origin: str) -> None:
    check_weights(one, networks, weights, origin)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {PATH: pickled({"generator": {}, "generator_ema": generator()}), "README.md": b"about"}
    with FakeHub({REPO: files}, lfs={PATH}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    file = tmp_path / "mirror" / REPO / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(pickled({"generator_ema": generator()}))
    return tmp_path / "mirror"


def fetch(revision: str | None = None) -> list[str]:
    said: list[str] = []
    pull(artefact(NAME), revision, said.append)
    return said


def make(**options: bool) -> None:
    convert(artefact(NAME), check, print, **options)


def ready(mirror: Path) -> Path:
    import_files(artefact(NAME), mirror, print)
    make()
    return folder_of(NAME)


def spoil(path: Path) -> None:
    """Another byte at the end, at the same size and time."""
    stat = path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class TestTheCatalogue:
    def test_groups_name_artefacts_and_artefacts_find_their_groups(self) -> None:
        assert all(part in ARTEFACTS for parts in GROUPS.values() for part in parts)
        assert groups_with("wan-vae") == ["self-forcing", "causal-forcing", "longlive"]
        assert groups_with("moviegen-prompts") == []

    def test_no_artefact_has_the_name_of_a_group_or_the_folder_of_another(self) -> None:
        assert ARTEFACTS.keys() & GROUPS.keys() == set()
        assert len({folder_of(name) for name in ARTEFACTS}) == len(ARTEFACTS)

    def test_a_backbone_stands_for_all_that_it_needs_once(self) -> None:
        names = [one.name for one in select(["longlive", "wan-vae", "moviegen-prompts"])]
        assert names == ["longlive-base", "longlive-lora", "wan-vae", "wan-text", "moviegen-prompts"]
        with pytest.raises(ConfigError, match="unknown weights 'longlvie'; did you mean 'longlive'"):
            select(["longlvie"])

    def test_what_is_fetched_and_made_of_it_is_what_is_needed(self) -> None:
        for one in ARTEFACTS.values():
            first = one.origins[0]
            fetched = [file.place.replace("tokenizer/", "tokenizer/tokenizer.json") for file in first.files]
            made = first.pickle.outputs if first.pickle else ()
            assert missing_patterns(one, [*fetched, *made]) == []
            assert first.pickle is None or first.pickle.place in fetched


class TestWhereTheyLie:
    def test_the_folder_is_told_or_in_the_cache(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert weights_root() == root
        monkeypatch.delenv("LONGTAKE_WEIGHTS")
        monkeypatch.setenv("HOME", "/home/someone")
        assert weights_root() == Path("/home/someone/.cache/longtake/weights")

    @pytest.mark.parametrize(
        "ask", [lambda: artefact_file(NAME, "generator.safetensors"), lambda: artefact_folder(NAME)]
    )
    def test_what_is_missing_names_the_file_and_the_command(self, ask: Callable[[], Path], mirror: Path) -> None:
        with pytest.raises(
            WeightsError, match=r"generator\.safetensors: file not found; run longtake weights pull self-fo"
        ):
            ask()
        import_files(artefact(NAME), mirror, print)
        with pytest.raises(
            WeightsError, match=r"generator\.safetensors: file not found; run longtake weights convert self"
        ):
            ask()
        make()
        assert ask().exists()

    def test_asking_makes_no_folder(self, root: Path) -> None:
        for ask in (recorded_sha256, artefact_folder, lambda name: verify(artefact(name), networks), lambda _: make()):
            with pytest.raises(WeightsError, match="run longtake weights pull self-forcing"):
                ask(NAME)
        assert state(artefact(NAME)) == "absent"
        assert not root.exists()

    def test_an_unknown_artefact_is_told_the_near_miss(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'wan-vae'"):
            artefact_file("wan-va", "config.json")


class TestPulling:
    def test_from_the_hub_what_was_asked_for_and_no_more(self, hub: FakeHub, root: Path) -> None:
        said = fetch()
        assert state(artefact(NAME)) == "pulled, needs convert"
        make()
        assert state(artefact(NAME)) == "ready"
        assert [asked.path for asked in hub.asked] == [PATH]
        assert said == [f"{NAME}: fetching {REPO}/{PATH} ({len(hub.repos[REPO][PATH]) / 1e6:,.1f} MB)"]
        told = json.loads((folder_of(NAME) / "manifest.json").read_text())
        assert [told[key] for key in ("repo", "revision", "commit", "taken_from")] == [REPO, "main", COMMIT, hub.url]

    def test_again_asks_nobody(self, hub: FakeHub) -> None:
        fetch()
        make()
        hub.asked.clear()
        looked = hub.looked_up
        assert fetch() == [f"{NAME}: already present"]
        assert fetch(COMMIT) == [f"{NAME}: already present"]
        assert (hub.asked, hub.looked_up) == ([], looked)

    def test_another_revision_brings_what_differs_and_makes_conversion_stale(self, hub: FakeHub) -> None:
        fetch()
        make()
        before = recorded_sha256(NAME)
        hub.commit = OTHER
        fetch(OTHER)
        assert state(artefact(NAME)) == "ready"
        assert [asked.path for asked in hub.asked] == [PATH]  # the same bytes at another commit
        hub.commit, hub.repos[REPO][PATH] = COMMIT, pickled({"generator_ema": generator(1)})
        fetch(COMMIT)
        assert state(artefact(NAME)) == "pulled, needs convert"
        with pytest.raises(WeightsError, match="run longtake weights convert self-forcing"):
            recorded_sha256(NAME)
        make()
        assert recorded_sha256(NAME) != before

    def test_a_pull_that_was_cut_off_keeps_what_had_come(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = small_encoder.write_original(tmp_path / "repo")
        paths = [file for file in sorted(source.rglob("*")) if file.is_file()]
        files = {str(file.relative_to(source)): file.read_bytes() for file in paths}
        text = artefact("wan-text")
        with FakeHub({"Wan-AI/Wan2.1-T2V-1.3B": files}) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            hub.refuses = True
            with pytest.raises(WeightsError, match="503"):
                pull(text, None, print)
            hub.refuses = False
            hub.cut["google/umt5-xxl/tokenizer.json"] = 0
            with pytest.raises(WeightsError, match=r"google/umt5-xxl/tokenizer\.json: .*503"):
                pull(text, None, print)
            assert state(text) == "incomplete"
            with pytest.raises(WeightsError, match="file not found; run longtake weights pull wan-text"):
                artefact_folder("wan-text")
            hub.refuses = False
            hub.asked.clear()
            pull(text, None, print)
        asked = [one.path for one in hub.asked]
        assert asked == ["google/umt5-xxl/tokenizer.json", "google/umt5-xxl/tokenizer_config.json"]

    def test_a_repository_without_the_file_is_one_line(self, hub: FakeHub) -> None:
        del hub.repos[REPO][PATH]
        with pytest.raises(
            WeightsError, match=f"{REPO}: has no {PATH} at this revision; choose another with --revision"
        ):
            fetch()

    @pytest.mark.parametrize("place", ["checkpoints/moviegenbench_128_refined.txt", "moviegenbench_128_refined.txt"])
    def test_prompts_lie_beside_the_checkpoints_or_in_the_root(
        self, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FakeHub({"qixinhu11/LongLive-RAG": {place: b"a boat\n", "README.md": b"about"}}) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            pull(artefact("moviegen-prompts"), None, print)
        assert [one.path for one in hub.asked] == [place]
        assert artefact_file("moviegen-prompts", "moviegenbench_128_refined.txt").read_text() == "a boat\n"

    def test_two_at_once_do_not_meet(self, root: Path, hub: FakeHub) -> None:
        with (
            manifests.locked(folder_of(NAME)),
            pytest.raises(WeightsError, match="another `longtake weights` has locked it"),
        ):
            fetch()
        fetch()

    def test_a_wrong_hash_leaves_nothing_behind(self, hub: FakeHub, root: Path) -> None:
        hub.wrong_hash = True
        with pytest.raises(WeightsError, match="has hash"):
            fetch()
        assert state(artefact(NAME)) == "absent"
        assert not [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]


class TestTaking:
    @pytest.mark.parametrize("layout", [f"{REPO}/{PATH}", PATH, "self_forcing_dmd.pt"])
    def test_a_mirror_a_copy_of_the_repository_or_bare_names(self, layout: str, tmp_path: Path) -> None:
        file = tmp_path / "from" / layout
        file.parent.mkdir(parents=True)
        file.write_bytes(pickled({"generator_ema": generator()}))
        import_files(artefact(NAME), tmp_path / "from", print)
        make()
        assert state(artefact(NAME)) == "ready"
        assert file.exists()

    def test_hub_and_mirror_give_one_hash(self, mirror: Path, hub: FakeHub) -> None:
        hub.repos[REPO][PATH] = (mirror / REPO / PATH).read_bytes()
        fetch()
        make()
        from_hub = recorded_sha256(NAME)
        import_files(artefact(NAME), mirror, print)
        assert state(artefact(NAME)) == "ready"  # the conversion of the same source stays
        assert recorded_sha256(NAME) == from_hub

    def test_what_a_folder_lacks_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=f"has no {REPO}/{PATH}, under this path or its file name"):
            import_files(artefact(NAME), tmp_path, print)
        with pytest.raises(WeightsError, match="none: is not a folder"):
            import_files(artefact(NAME), tmp_path / "none", print)

    def test_names_that_every_repository_uses_are_not_taken_bare(self, tmp_path: Path) -> None:
        for name in ("config.json", "diffusion_pytorch_model.safetensors"):
            (tmp_path / name).write_bytes(b"of the DiT")
        with pytest.raises(WeightsError, match=r"has no Wan-AI/Wan2\.1-T2V-1\.3B-Diffusers/vae/config\.json"):
            import_files(artefact("wan-vae"), tmp_path, print)

    def test_text_in_either_layout_and_from_one_to_the_other(self, tmp_path: Path) -> None:
        text = artefact("wan-text")
        small_encoder.write_original(tmp_path / "original", text_dim=10)
        small_encoder.write_diffusers(tmp_path / "diffusers", text_dim=10, shards=2)
        import_files(text, tmp_path / "original", print)
        convert(text, check, print)
        assert verify(text, networks) == []
        import_files(text, tmp_path / "diffusers", print)
        assert verify(text, networks) == []
        assert not (folder_of("wan-text") / "model.safetensors").exists()
        assert (folder_of("wan-text") / "model-00002-of-00002.safetensors").exists()
        import_files(text, tmp_path / "original", print)
        convert(text, check, print, delete_source=True)
        assert verify(text, networks) == []
        assert sorted(path.name for path in folder_of("wan-text").glob("*.safetensors")) == ["model.safetensors"]

    def test_a_plain_file_is_ready_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "moviegenbench_128_refined.txt").write_text("a boat\n")
        prompts = artefact("moviegen-prompts")
        import_files(prompts, tmp_path, print)
        convert(prompts, check, print)
        assert artefact_file("moviegen-prompts", "moviegenbench_128_refined.txt").read_text() == "a boat\n"
        assert verify(prompts, networks) == []


class TestConverting:
    def test_names_lose_their_prefix_and_numbers_stay(self, mirror: Path) -> None:
        loaded = load_file(ready(mirror) / "generator.safetensors")
        assert {f"model.{name}" for name in loaded} == generator().keys()
        assert all(loaded[name.removeprefix("model.")].equal(value) for name, value in generator().items())

    def test_again_does_nothing_and_after_damage_does_it_again(self, mirror: Path) -> None:
        result = ready(mirror) / "generator.safetensors"
        first = (result.stat().st_ino, recorded_sha256(NAME))
        make()
        assert (result.stat().st_ino, recorded_sha256(NAME)) == first
        result.unlink()
        make()
        assert recorded_sha256(NAME) == first[1]

    def test_the_source_is_deleted_only_when_asked_and_not_missed(self, mirror: Path) -> None:
        folder = ready(mirror)
        assert (folder / PICKLE).exists()
        make(delete_source=True)
        assert not (folder / PICKLE).exists()
        assert (mirror / REPO / PATH).exists()
        assert state(artefact(NAME)) == "ready"
        assert verify(artefact(NAME), networks) == []
        make()

    def test_a_source_deleted_by_hand_is_not_missed_either(self, mirror: Path) -> None:
        folder = ready(mirror)
        (folder / PICKLE).unlink()
        assert state(artefact(NAME)) == "ready"
        assert verify(artefact(NAME), networks) == []

    def test_weights_of_another_architecture_become_nothing(self, mirror: Path) -> None:
        state_dict = generator()
        state_dict["model.stray"] = state_dict.pop("model.head.head.bias")
        (mirror / REPO / PATH).write_bytes(pickled({"generator_ema": state_dict}))
        import_files(artefact(NAME), mirror, print)
        with pytest.raises(WeightsError, match=r"self_forcing_dmd\.pt: missing head\.head\.bias; unexpected stray"):
            make()
        (mirror / REPO / PATH).write_bytes(
            pickled({"generator_ema": generator() | {"model.head.head.bias": torch.ones(3)}})
        )
        import_files(artefact(NAME), mirror, print)
        with pytest.raises(WeightsError, match=r"head\.head\.bias has shape \[3\], the architecture needs \[16\]"):
            make()
        assert not list(folder_of(NAME).glob("*.safetensors"))
        assert not list(folder_of(NAME).glob(".tmp-*"))

    def test_a_source_that_changed_since_is_not_opened(self, mirror: Path) -> None:
        import_files(artefact(NAME), mirror, print)
        with (folder_of(NAME) / PICKLE).open("ab") as file:
            file.write(b"more")
        with pytest.raises(WeightsError, match=r"self_forcing_dmd\.pt: changed since it was pulled; run .* verify"):
            make()

    def test_a_lora_is_converted_under_its_own_names(self, tmp_path: Path) -> None:
        pair = {"A": torch.ones(2, 16), "B": torch.ones(16, 2)}
        lora = {f"base_model.model.blocks.0.self_attn.q.lora_{side}.weight": value for side, value in pair.items()}
        (tmp_path / "lora.pt").write_bytes(pickled({"generator_lora": lora}))
        one = artefact("longlive-lora")
        import_files(one, tmp_path, print)
        convert(one, check, print)
        assert load_file(artefact_file("longlive-lora", "lora.safetensors")).keys() == lora.keys()
        assert verify(one, networks) == []

    def test_a_hostile_pickle_leaves_nothing(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                return os.mkdir, (str(tmp_path / "canary"),)

        (tmp_path / "self_forcing_dmd.pt").write_bytes(pickled({"generator_ema": {"w": Bomb()}}))
        import_files(artefact(NAME), tmp_path, print)
        with pytest.raises(WeightsError, match=r"self_forcing_dmd\.pt: asks for posix\.mkdir"):
            make()
        assert not (tmp_path / "canary").exists()


class TestRecordsAndVerify:
    def test_the_hash_is_of_names_and_bytes_not_of_places(self, mirror: Path, root: Path, tmp_path: Path) -> None:
        ready(mirror)
        first = recorded_sha256(NAME)
        shutil.rmtree(root)
        (tmp_path / "self_forcing_dmd.pt").write_bytes((mirror / REPO / PATH).read_bytes())
        import_files(artefact(NAME), tmp_path, print)
        make(delete_source=True)
        assert recorded_sha256(NAME) == first

    def test_a_touched_file_must_be_verified_and_then_counts_again(self, mirror: Path) -> None:
        folder = ready(mirror)
        first = recorded_sha256(NAME)
        os.utime(folder / "generator.safetensors", ns=(1, 1))
        assert state(artefact(NAME)) == "changed"
        with pytest.raises(
            WeightsError,
            match=r"generator\.safetensors: changed since it was recorded; run longtake weights verify self-fo",
        ):
            recorded_sha256(NAME)
        assert verify(artefact(NAME), networks) == []
        assert recorded_sha256(NAME) == first

    def test_a_copied_root_is_verified_and_used(
        self, mirror: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ready(mirror)
        first = recorded_sha256(NAME)
        copy = root.with_name("copy")
        for path in [path for path in root.rglob("*") if path.is_file()]:
            (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(root)).write_bytes(path.read_bytes())
        monkeypatch.setenv("LONGTAKE_WEIGHTS", str(copy))
        assert state(artefact(NAME)) == "changed"
        assert verify(artefact(NAME), networks) == []
        assert recorded_sha256(NAME) == first

    def test_other_bytes_are_found_and_the_command_mends_them(self, mirror: Path) -> None:
        result = ready(mirror) / "generator.safetensors"
        spoil(result)
        (line,) = verify(artefact(NAME), networks)
        assert line.startswith(f"{result}: its sha256 is not the recorded ")
        assert line.endswith("delete it and run longtake weights convert self-forcing-generator")
        result.unlink()
        make()
        assert verify(artefact(NAME), networks) == []

    def test_missing_strange_and_unconverted_files_are_named(self, mirror: Path) -> None:
        import_files(artefact(NAME), mirror, print)
        assert verify(artefact(NAME), networks) == [
            f"{folder_of(NAME)}: is not converted; run longtake weights convert self-forcing-generator"
        ]
        folder = ready(mirror)
        (folder / "more.safetensors").write_bytes(b"")
        (folder / "generator.safetensors").unlink()
        missing, strange = verify(artefact(NAME), networks)
        assert missing == f"{folder}/generator.safetensors: file not found; run longtake weights convert {NAME}"
        assert strange == f"{folder / 'more.safetensors'}: is not recorded; delete it"

    def test_names_and_shapes_are_held_against_the_architecture(self, mirror: Path) -> None:
        ready(mirror)
        with torch.device("meta"):
            other = CausalDiT(replace(TINY, layers=1))
        (line,) = verify(artefact(NAME), lambda _: [other])
        assert "missing nothing; unexpected blocks.1.cross_attn.k.bias" in line
        assert verify(artefact(NAME), lambda _: [other, *networks(NAME)]) == []

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"a": {}}}', '{"files": 3, "new": 1}'])
    def test_a_damaged_manifest_is_one_line(self, text: str, mirror: Path) -> None:
        (ready(mirror) / "manifest.json").write_text(text)
        for ask in (recorded_sha256, lambda name: state(artefact(name))):
            with pytest.raises(WeightsError, match=r"manifest\.json: is not a manifest; delete .* and pull it again"):
                ask(NAME)

    def test_a_folder_that_cannot_be_written_is_one_line(self, mirror: Path, root: Path) -> None:
        root.write_text("in the way")
        with pytest.raises(LongtakeError, match="weights"):
            import_files(artefact(NAME), mirror, print)
