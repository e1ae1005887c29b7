"""Free memory within the limits of control groups, read from folders like those of the kernel."""

import psutil
import pytest

from longtake.platform.machine.free_memory import NO_LIMIT, free_bytes, group_free_bytes
from longtake.platform.machine.resources import GIB, BankCapacity, Resources


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v2(folder, limit, used, cache=0):
    where = f"sys/fs/cgroup/{folder}".rstrip("/")
    stat = f"anon 1\ninactive_file {cache}\nactive_file 0"
    return {f"{where}/memory.max": limit, f"{where}/memory.current": used, f"{where}/memory.stat": stat}


def test_the_cache_of_a_group_is_free(tmp_path):
    """1000 - (700 used - 300 of cache)."""
    tree(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", 1000, 700, cache=300))
    assert group_free_bytes(tmp_path) == 600


def test_the_tightest_group_around_counts(tmp_path):
    files = v2("a", 5000, 4900) | v2("a/b", 300, 50) | v2("a/b/c", "max", 50)
    assert group_free_bytes(tree(tmp_path, {"proc/self/cgroup": "0::/a/b/c"} | files)) == 100


def test_a_group_over_its_limit_leaves_nothing(tmp_path):
    assert group_free_bytes(tree(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", 100, 150))) == 0


def test_version_1_and_the_path_of_a_host(tmp_path):
    """With version 1, Docker names a group by the host's path but mounts it without that path."""
    stat = "inactive_file 1\ntotal_inactive_file 40\ntotal_active_file 10"
    mount = "sys/fs/cgroup/memory"
    files = {f"{mount}/memory.limit_in_bytes": 900, f"{mount}/memory.usage_in_bytes": 350, f"{mount}/memory.stat": stat}
    named = {"proc/self/cgroup": "5:cpu:/docker/1\n4:blkio,memory:/docker/1"}
    assert group_free_bytes(tree(tmp_path, named | files)) == 600


@pytest.mark.parametrize("files", [{}, {"proc/self/cgroup": "0::/"}, {"proc/self/cgroup": "0::/"} | v2("", "max", 1)])
def test_without_a_limit_the_machine_counts(tmp_path, files):
    assert group_free_bytes(tree(tmp_path, files)) == NO_LIMIT
    assert free_bytes(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_group_below_the_machine_counts(tmp_path):
    assert free_bytes(tree(tmp_path, {"proc/self/cgroup": "0::/"} | v2("", 5_000_000, 0))) == 5_000_000


def test_a_share_is_half_of_it_by_sampler_and_a_number_is_kept():
    alone, among_four = (BankCapacity().on_this_machine(samplers).host_gib for samplers in (1, 4))
    assert alone == pytest.approx(free_bytes() / 2 / GIB, rel=0.2)
    assert among_four == pytest.approx(alone / 4, rel=0.2)
    assert BankCapacity(gpu_gib=2, host_gib=3, disk="d").on_this_machine(4) == BankCapacity(
        gpu_gib=2, host_gib=3, disk="d"
    )
    assert Resources().bank.host_gib is None, "resolved where the sampler runs"
