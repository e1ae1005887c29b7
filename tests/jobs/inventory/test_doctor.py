"""`longtake doctor`: what can run here, the command for what is missing, and 1 only when nothing can."""

import subprocess
import sys
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.inventory.capabilities import backbones, dimensions, requirements_of
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import folder_of
from longtake.platform.weights.manifest import Manifest

LONG = "vbench-long"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "weights"


def bring(artefact: str) -> None:
    """A file in place of an artefact's weights, recorded as a conversion records it."""
    folder = folder_of(artefact)
    folder.mkdir(parents=True)
    (folder / "metric.safetensors").write_bytes(b"weights")
    record = manifests.record(folder / "metric.safetensors", "0" * 64)
    manifests.write(folder, Manifest(artefact, "owner/name", None, None, "here", {"metric.safetensors": record}))


def missing() -> dict[tuple[str, str], tuple[str, ...]]:
    return {(one.group, one.name): one.missing for one in (*dimensions(), *backbones())}


def command(artefact: str) -> str:
    return f"{artefact}/metric.safetensors: is not recorded; run longtake weights pull {artefact}"


def install(folder: Path, *lines: str) -> None:
    """Metadata that say what longtake needs."""
    info = folder / "longtake-9.dist-info"
    info.mkdir()
    needs = "\n".join(f"Requires-Dist: {line}" for line in lines)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: longtake\nVersion: 9\n{needs}\n")


def test_what_is_there_and_what_each_row_lacks(tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["doctor", "--output", str(tmp_path / "runs" / "deep")]) == 0
    out = capfd.readouterr().out
    assert ".".join(map(str, sys.version_info[:3])) in out
    assert "with libx264" in out
    assert f"{tmp_path}/runs/deep: " in out
    assert "the core is fine" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["classical", "all", "8", "yes"] in rows
    assert ["backbones", "pocket", "yes"] in rows
    assert [LONG, "temporal_flickering", "yes"] in rows
    assert [LONG, "motion_smoothness", "no", *command("amt-s").split()] in rows
    assert not root.exists()
    assert not (tmp_path / "runs").exists()


def test_a_dimension_can_run_once_all_that_its_networks_read_is_there() -> None:
    before = missing()
    assert before[LONG, "aesthetic_quality"] == (command("clip-vit-l-14"), command("aesthetic-linear"))
    bring("aesthetic-linear")
    assert missing()[LONG, "aesthetic_quality"] == (command("clip-vit-l-14"),)
    bring("clip-vit-l-14")
    bring("dino-vitb16")
    after = missing()
    assert after[LONG, "aesthetic_quality"] == ()
    assert after[LONG, "subject_consistency"] == ()
    assert after[f"{LONG} long_range", "subject_consistency"] == (command("dinov2-vitb14"),)
    assert (f"{LONG} long_range", "motion_smoothness") not in after


def test_a_backbone_names_the_weights_that_it_lacks() -> None:
    found = missing()
    assert found["backbones", "pocket-mem"] == ()
    assert found["backbones", "longlive"] == (
        "missing longlive-base longlive-lora wan-vae wan-text; "
        "run longtake weights pull longlive-base longlive-lora wan-vae wan-text",
    )


def test_what_longtake_declares_is_told_by_extra() -> None:
    assert {"torch", "ray", "av"} <= set(requirements_of())
    assert "deepspeed" not in requirements_of()
    assert requirements_of("wan") == ["diffusers", "ftfy", "huggingface_hub", "transformers"]


def test_a_missing_package_of_the_core_is_a_fault_and_of_an_extra_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "torch>=2.6", 'no-such-extra; extra == "wan"')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert execute(["doctor", "--output", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "backbones of the Wan family: no-such-extra not installed" in out
    assert "no-such-extra is not installed; run pip install '.[wan]'" in out
    (tmp_path / "longtake-9.dist-info" / "METADATA").unlink()
    (tmp_path / "longtake-9.dist-info").rmdir()
    install(tmp_path, "torch>=2.6", "no-such-thing[x]<3")
    assert execute(["doctor", "--output", str(tmp_path)]) == 1
    out = capfd.readouterr().out
    assert "1 of 2" in out
    assert "no-such-thing not installed; run pip install . in the checkout" in out
    assert "1 to fix: packages" in out


def test_an_output_that_cannot_be_written_is_a_fault(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert execute(["doctor", "--output", str(tmp_path / "file" / "runs")]) == 1
    out = capfd.readouterr().out
    assert f"{tmp_path}/file/runs: not writable" in out
    assert "1 to fix: output" in out
    assert execute(["doctor", "--output", "s3://bucket/runs"]) == 0


@pytest.mark.slow
def test_it_loads_no_library_that_it_only_asks_about() -> None:
    heavy = "('ray', 'mlflow', 'transformers', 'diffusers', 'timm', 'open_clip', 'torchvision', 'deepspeed', 'vbench')"
    code = (
        "import sys; from longtake.jobs.cli import execute; assert execute(['doctor']) == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
