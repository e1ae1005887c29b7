"""Which devices a sweep's samplers get, without any: what follows from the file alone."""

from pathlib import Path

import pytest
import torch

from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.plan import check_gpus
from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import find_device, gpu_count
from tests.jobs import tiny

WAN = ["backbones=[longlive]", "suites=[classical]"]


@pytest.mark.parametrize(
    ("words", "gpus", "on_gpu", "device"),
    [
        ([], 0, False, "cpu"),
        (["workers.device=cuda"], 1, True, "cuda"),
        (["workers.gpus_per_sampler=1"], 1, True, "auto"),
        ([*WAN], 1, True, "auto"),
        ([*WAN, "workers.device=cpu"], 0, False, "cpu"),
        ([*WAN, "workers.decode_device=cuda:1"], 2, True, "auto"),
        ([*WAN, "workers.gpus_per_sampler=0"], 0, False, "cpu"),
    ],
)
def test_a_sampler_asks_for_the_gpus_that_it_computes_on(
    words: list[str], gpus: float, on_gpu: bool, device: str, tmp_path: Path
) -> None:
    """And one that asked for none computes on the CPU, even where the machine has some."""
    grid = expand(tiny.write_sweep(tmp_path), words, need_weights=False)
    assert (grid.gpus, grid.on_gpu, grid.resources(tmp_path).device) == (gpus, on_gpu, device)


def test_too_few_gpus_for_the_devices_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"workers.gpus_per_sampler: 1 is too few for the devices; set 2 or auto"):
        expand(tiny.write_sweep(tmp_path), ["workers={gpus_per_sampler: 1, decode_device: 'cuda:1'}"])


def test_more_gpus_than_the_machine_has_are_refused_before_anything_runs(tmp_path: Path) -> None:
    grid = expand(tiny.write_sweep(tmp_path), ["workers.gpus_per_sampler=64"])
    with pytest.raises(ConfigError, match=r"workers.gpus_per_sampler: a sampler needs 64; this machine has \d+ CUDA"):
        check_gpus(grid)


def test_a_device_that_is_not_there_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"workers.decode_device: 'cuda:99' does not exist"):
        find_device("cuda:99", "decode_device")


def test_the_disk_of_a_bank_is_one_place_for_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grid = expand(tiny.write_sweep(tmp_path), ["workers.bank.disk=bank"])
    assert grid.resources(tmp_path).bank.disk == str(tmp_path / "bank")


def test_the_backbones_own_window_is_one_take_under_any_spelling(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'native' and 'same' have the same parameters"):
        expand(tiny.write_sweep(tmp_path), ["methods=[native, {native: {window: 12, sink: 1}, as: same}]"])


def test_gpus_are_counted_as_torch_counts_them() -> None:
    assert gpu_count() == torch.cuda.device_count()
