"""The folder of Ray's sockets is short enough for them."""

import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.workers.ray_folder import FOLDER_BYTES, SHORT, short_folder


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, None),
        ({"TMPDIR": "/" + "a" * (FOLDER_BYTES - 1)}, None),
        ({"TMPDIR": "/" + "a" * FOLDER_BYTES}, SHORT),
        ({"TMPDIR": "/" + "é" * (FOLDER_BYTES // 2 + 1)}, SHORT),  # two bytes a letter
        ({"TMPDIR": "/" + "a" * 200, "RAY_TMPDIR": "/var/tmp"}, None),
    ],
)
def test_a_long_tmpdir_is_replaced(
    environment: dict[str, str], folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert short_folder() == folder


def test_a_long_ray_tmpdir_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "a" * FOLDER_BYTES)
    with pytest.raises(ConfigError, match=f"RAY_TMPDIR: .* has {FOLDER_BYTES + 1} bytes; .* allow {FOLDER_BYTES}; set"):
        short_folder()
