"""`longtake weights`: what a user gets of each step; one line and 2 for what cannot be, 1 for what is wrong."""

import shutil
from io import BytesIO
from pathlib import Path

import pytest
import torch

from longtake.evaluators.models.base import load
from longtake.jobs.cli import execute
from longtake.platform.models.vae.wan import load_vae, random_vae
from longtake.platform.weights.artefacts import folder_of, recorded_sha256
from longtake.platform.weights.catalog import ARTEFACTS
from tests.jobs.mini_wan import MiniLongLive
from tests.platform.models.vae.small_vae import original_state, small_config
from tests.platform.weights.hub_server import COMMIT, FakeHub
from tests.platform.weights.wan_mirror import write_mirror

PROMPTS = "moviegenbench_128_refined.txt"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mirror(tmp_path_factory.mktemp("mirror"), MiniLongLive.spec.network)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "weights"


def rows(capfd: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """artefact -> the cells of its row."""
    capfd.readouterr()
    assert execute(["weights", "list"]) == 0
    cells = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in capfd.readouterr().out.splitlines()
    ]
    return {row[0]: row for row in cells if row and row[0] in ARTEFACTS}


def refusal(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    capfd.readouterr()
    assert execute(["weights", *words]) == 2
    err = capfd.readouterr().err
    assert err.startswith("longtake: ")
    assert err.count("\n") == 1
    return err


def test_the_list_shows_every_artefact_and_what_needs_it(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = rows(capfd)
    assert table.keys() == ARTEFACTS.keys()
    assert table["longlive-lora"][1:] == [
        "Efficient-Large-Model/LongLive-1.3B",
        "see its repository",
        "-",
        "absent",
        "-",
        "longlive",
    ]
    assert table["amt-s"][1:] == ["lalala125/AMT", "CC BY-NC 4.0", "~12.04 MB", "absent", "-", "vbench"]
    assert table["wan-vae"][-1] == "self-forcing, causal-forcing, longlive"
    assert not root.exists()


@pytest.mark.slow
def test_a_backbone_is_pulled_whole_from_a_mirror_and_is_right(mirror: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["weights", "pull", "longlive", "--from", str(mirror)]) == 0
    out = capfd.readouterr().out
    assert "longlive-base: converting" in out
    assert out.count(": ready in ") == 4
    states = {name: row[4] for name, row in rows(capfd).items()}
    assert {name for name, state in states.items() if state == "ready"} == {
        "longlive-base",
        "longlive-lora",
        "wan-vae",
        "wan-text",
    }
    assert execute(["weights", "verify"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "longlive-base: ok",
        "longlive-lora: ok",
        "wan-vae: ok",
        "wan-text: ok",
    ]


@pytest.mark.slow
def test_from_the_hub_with_commit_and_size(
    mirror: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, path = "gdhe17/Self-Forcing", "checkpoints/self_forcing_dmd.pt"
    prompts = {PROMPTS: b"a boat\n"}
    with FakeHub({repo: {path: (mirror / repo / path).read_bytes()}, "qixinhu11/LongLive-RAG": prompts}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert execute(["weights", "pull", "moviegen-prompts", "--revision", COMMIT[:40]]) == 0
        assert rows(capfd)["moviegen-prompts"][1:] == [
            f"qixinhu11/LongLive-RAG {COMMIT[:8]}",
            "see its repository",
            "0.00 MB",
            "ready",
            recorded_sha256("moviegen-prompts")[:12],
            "-",
        ]
        assert "one repository; pull one artefact at a time" in refusal(
            capfd, "pull", "self-forcing", "--revision", COMMIT
        )
        assert "unknown weights" in refusal(capfd, "pull", "self-forcin")


@pytest.mark.slow
def test_converting_can_wait_and_the_pickle_can_go(root: Path, mirror: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["weights", "pull", "longlive-lora", "--from", str(mirror), "--no-convert"]) == 0
    assert rows(capfd)["longlive-lora"][4] == "pulled, needs convert"
    assert execute(["weights", "verify", "longlive-lora"]) == 1
    assert "is not converted; run longtake weights convert longlive-lora" in capfd.readouterr().out
    assert execute(["weights", "convert", "longlive-lora", "--delete-source"]) == 0
    assert {path.name for path in (root / "longlive-lora").rglob("[!.]*")} == {
        "manifest.json",
        "lora.safetensors",
        "source",
    }
    assert rows(capfd)["longlive-lora"][4] == "ready"


def test_what_changed_is_shown_verified_and_named(root: Path, mirror: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["weights", "pull", "moviegen-prompts", "--from", str(mirror)]) == 0
    before = recorded_sha256("moviegen-prompts")
    file = root / "moviegen-prompts" / PROMPTS
    text = file.read_text()
    file.unlink()
    file.write_text("other\n")
    assert rows(capfd)["moviegen-prompts"][4] == "changed"
    assert execute(["weights", "verify"]) == 1
    assert f"{file}: its sha256 is not the recorded " in capfd.readouterr().out
    file.write_text(text)
    assert execute(["weights", "verify"]) == 0
    assert recorded_sha256("moviegen-prompts") == before


def test_weights_of_no_known_architecture_are_refused(
    mirror: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save({"generator": {"w": torch.zeros(1)}}, tmp_path / "causal_forcing.pt")
    err = refusal(capfd, "pull", "causal-forcing-generator", "--from", str(tmp_path))
    assert "causal_forcing.pt: missing blocks.0.cross_attn.k.bias" in err
    assert "unexpected w" in err


def test_what_is_missing_does_not_stop_the_rest_of_a_pull(
    mirror: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(mirror, tmp_path / "some")
    (tmp_path / "some/Efficient-Large-Model/LongLive-1.3B/models/longlive_base.pt").unlink()
    err = refusal(capfd, "pull", "longlive", "moviegen-prompts", "--from", str(tmp_path / "some"))
    assert "1 of 5 failed, for the reasons above: longlive-base; the other 4 are done; then run the same" in err
    states = {name: row[4] for name, row in rows(capfd).items() if name.startswith(("longlive-", "wan-", "movie"))}
    assert states == {
        "longlive-base": "absent",
        "longlive-lora": "ready",
        "wan-vae": "ready",
        "wan-text": "ready",
        "moviegen-prompts": "ready",
        "longlive-rag-embedder": "absent",
    }
    assert execute(["weights", "verify", "longlive-base", "moviegen-prompts"]) == 2
    out, err = capfd.readouterr()
    assert "longlive-base: " in out
    assert "run longtake weights pull longlive-base" in out
    assert "moviegen-prompts: ok" in out
    assert err.startswith("longtake: 1 of 2 failed")


def test_the_files_of_the_authors_instructions_are_imported_as_they_lie(
    mirror: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A checkout of LongLive-RAG after its two download commands: checkpoints/ and wan_models/Wan2.1-T2V-1.3B/."""
    checkout = tmp_path / "LongLive-RAG"
    shutil.copytree(mirror / "Wan-AI/Wan2.1-T2V-1.3B", checkout / "wan_models/Wan2.1-T2V-1.3B")
    state = original_state(random_vae(small_config()).state_dict())
    torch.save(state, checkout / "wan_models/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
    shutil.copytree(mirror / "qixinhu11/LongLive-RAG/checkpoints", checkout / "checkpoints")
    for published, copy in {
        "gdhe17/Self-Forcing/checkpoints/self_forcing_dmd.pt": "self_forcing.pt",
        "zhuhz22/Causal-Forcing/chunkwise/causal_forcing.pt": "causal_forcing.pt",
        "Efficient-Large-Model/LongLive-1.3B/models/longlive_base.pt": "longlive_base.pt",
        "Efficient-Large-Model/LongLive-1.3B/models/lora.pt": "longlive_lora.pt",
    }.items():
        shutil.copy(mirror / published, checkout / "checkpoints" / copy)
    names = ["self-forcing", "causal-forcing", "longlive", "longlive-rag-embedder", "moviegen-prompts"]
    assert execute(["weights", "pull", *names, "--from", str(checkout)]) == 0
    assert execute(["weights", "verify"]) == 0
    assert capfd.readouterr().out.count(": ok\n") == 8
    assert load_vae(folder_of("wan-vae")).config.base_dim == 2


def test_a_metric_from_an_address_is_held_to_its_published_shapes_and_loads(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main/sa_0_4_vit_l_14_linear.pth"
    weights = {"weight": torch.arange(768.0).reshape(1, 768), "bias": torch.tensor([2.0])}
    for shape, code in ((767, 2), (768, 0)):
        shutil.rmtree(root, ignore_errors=True)
        file = BytesIO()
        torch.save({"weight": weights["weight"][:, :shape], "bias": weights["bias"]}, file)
        with FakeHub(plain={path: file.getvalue()}) as server:
            monkeypatch.setenv("LONGTAKE_MIRROR", server.url)
            assert execute(["weights", "pull", "aesthetic-linear"]) == code
    out, err = capfd.readouterr()
    assert "weight has shape [1, 767], the architecture needs [1, 768]" in err
    assert "aesthetic-linear: ready in " in out
    row = rows(capfd)["aesthetic-linear"]
    assert row[1:3] == ["https://raw.githubusercontent.com", "MIT"]
    assert row[4:] == ["ready", recorded_sha256("aesthetic-linear")[:12], "vbench"]
    assert execute(["weights", "verify"]) == 0
    head = load("aesthetic")
    assert head(torch.ones(1, 768)).item() == 768 * 767 / 2 + 2


def test_nothing_here_and_nobody_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["weights", "verify"]) == 0
    assert "contains no weights" in capfd.readouterr().out
    assert "run longtake weights pull wan-vae" in refusal(capfd, "verify", "wan-vae")
    assert "run longtake weights pull wan-vae" in refusal(capfd, "convert", "wan-vae")
    assert "http://127.0.0.1:9" in refusal(capfd, "pull", "wan-vae")
    assert "is not a folder" in refusal(capfd, "pull", "wan-vae", "--from", "/nowhere")
