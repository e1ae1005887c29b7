"""Single files of packages that must not start up, and torchvision beside a torch that it was not built for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from longtake.evaluators.models.bare import bare_attribute
from longtake.platform.errors import SetupError

# Each runs in a process of its own: imports cannot be undone.
ONLY_ONE_FILE = """
import sys
from longtake.evaluators.models.bare import bare_attribute
model = bare_attribute("vbench.third_party.amt.networks.AMT-S", "Model", "vbench")
musiq = bare_attribute("pyiqa.archs.musiq_arch", "MUSIQ", "pyiqa", "pyiqa.archs", "pyiqa.data", "pyiqa.utils")
assert model.__name__ == "Model" and musiq.__name__ == "MUSIQ"
assert bare_attribute("vbench.third_party.amt.networks.AMT-S", "Model", "vbench") is model
unwanted = {"vbench", "pyiqa", "clip", "transformers", "datasets"}
assert not unwanted & {name.partition(".")[0] for name in sys.modules}
"""
GIVES_BACK = """
import sys, types
sys.modules["vbench"] = held = types.ModuleType("vbench")
from longtake.evaluators.models.bare import bare_attribute
bare_attribute("vbench.third_party.amt.networks.AMT-S", "Model", "vbench")
assert sys.modules["vbench"] is held and "vbench.third_party" not in sys.modules
"""
TWICE = """
from longtake.platform.machine import vision_ops
vision_ops.ready()
vision_ops.ready.cache_clear()
vision_ops.ready()
import torchvision, timm, open_clip
from torchvision.models.optical_flow import raft_large
"""
AFTER_A_FAILURE = """
try:
    import torchvision
except RuntimeError as error:
    assert "nms" in str(error)
from longtake.platform.machine.vision_ops import ready
ready()
import torchvision
assert torchvision.__version__
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [ONLY_ONE_FILE, GIVES_BACK, TWICE, AFTER_A_FAILURE])
def test_imports(code: str) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SetupError, match=r"^no_such_package\.x\.Y cannot be imported .*longtake doctor$"):
        bare_attribute("no_such_package.x", "Y", "no_such_package")
    with pytest.raises(SetupError, match=r"AMT-S\.Nothing cannot be imported"):
        bare_attribute("vbench.third_party.amt.networks.AMT-S", "Nothing", "vbench")
