"""Planted faults: each plug-in in faults/ breaks one rule, and certify names the check that it breaks."""

from pathlib import Path

import pytest

from longtake.jobs.certify.check import Broken, verdicts
from longtake.jobs.certify.command import contract
from longtake.jobs.certify.methods import METHOD_CHECKS, MethodSubject
from longtake.platform import plugins

FOLDER = Path(__file__).with_name("faults")
FAULTS = {
    "batch_row": "batch",
    "memory_time": "time indices",
    "silent_default": "no fallback",
    "silent_camera": "no fallback",
    "guard_by_one": "recency guard",
    "second_call": "plan twice",
    "future_frame": "valid plans",
    "larger_budget": "equal budget",
    "own_draws": "resume",
    "wrong_label": "labels",
    "plain_summary": "labels",
    "half_groups": "valid plans",
    "lost_entry": "valid plans",
    "wrong_order": "time indices",
    "small_print": "equal budget",
    "kept_frames": "lent frames",
    "changed_frames": "lent frames",
    "not_a_number": "finite or a reason",
    "order_of_videos": "other videos",
    "wrong_ideal": "identical frames",
    "seed_ignored": "seeds",
    "batch_mean": "batch",
    "shared_decoder": "decoder",
    "weights_missed": "fingerprint",
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "check"), FAULTS.items())
def test_the_check_that_it_breaks_fails(fault: str, check: str) -> None:
    *helpers, plugin = plugins.load([fault], FOLDER / "sweep.yaml").modules
    try:
        failed = [one.check for one in verdicts(*contract(*plugin.parts[0])) if not one.passed]
    finally:
        for one in (plugin, *helpers):
            one.remove()
    assert check in failed


def test_a_reason_that_traces_do_not_count_fails_with_the_five() -> None:
    plugin = plugins.load(["free_reason"], FOLDER / "sweep.yaml").modules[-1]
    try:
        with pytest.raises(Broken, match="reason = 'memory'; must be one of sink, retrieved, summary, window, block"):
            METHOD_CHECKS["labels"](MethodSubject("free-reason"))
    finally:
        plugin.remove()
