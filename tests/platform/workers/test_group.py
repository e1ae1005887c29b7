"""How the members of a crew exchange tensors, depending on their device."""

import pytest
import torch
import torch.distributed as dist

from longtake.platform.workers.group import RankContext, backend_for, member_device, single_rank


def test_each_kind_of_tensor_has_a_backend():
    """Both names of backends are parsed by torch."""
    read = {
        kind: dist.BackendConfig(dist.Backend(backend_for(kind))).get_device_backend_map() for kind in ("cpu", "cuda")
    }
    assert read["cuda"] == {"cpu": "gloo", "cuda": "nccl"}
    assert read["cpu"]["cpu"] == "gloo"
    assert "nccl" not in read["cpu"].values()


@pytest.mark.ray
def test_ray_takes_the_name_for_nccl():
    """Ray then watches for collectives that never end."""
    config = pytest.importorskip("ray.train.torch.config")
    assert config._is_backend_nccl(backend_for("cuda"))
    assert not config._is_backend_nccl(backend_for("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about processes that see no GPU")
def test_a_crew_of_one_without_a_gpu(monkeypatch):
    assert single_rank() == RankContext(0, 1)
    assert dist.get_backend() == "gloo"
    numbers = torch.arange(3.0)
    dist.all_reduce(numbers)
    dist.barrier()
    assert numbers.tolist() == [0, 1, 2]
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert member_device() == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_crew_of_one_on_a_gpu():
    """Tensors are exchanged on their own device, and a barrier gives no warning about a device."""
    assert single_rank() == RankContext(0, 1)
    assert torch.cuda.current_device() == member_device().index
    for device in ("cpu", member_device()):
        numbers, found = torch.arange(3.0, device=device), [torch.empty(3, device=device)]
        dist.all_reduce(numbers)
        dist.all_gather(found, numbers)
        assert found[0].tolist() == [0, 1, 2]
    dist.barrier()
    backends = dist.BackendConfig(dist.Backend(backend_for("cuda"))).get_device_backend_map()
    assert backends[member_device().type] == "nccl"
