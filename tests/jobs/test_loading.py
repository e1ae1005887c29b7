"""The line that says that libraries are being loaded: only while an import is in progress, once."""

import importlib
import sys
import threading
from pathlib import Path

import pytest

from longtake.jobs import loading

WAITING = "import threading\nstarted, go = threading.Event(), threading.Event()\n"
SLOW = "import {0}\n{0}.started.set()\nassert {0}.go.wait(60)\n"


def test_a_slow_import_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The import waits until the watcher has looked at it."""
    gate, slow = "longtake_test_gate", "longtake_test_slow"
    (tmp_path / f"{gate}.py").write_text(WAITING)
    (tmp_path / f"{slow}.py").write_text(SLOW.format(gate))
    monkeypatch.syspath_prepend(tmp_path)
    events = importlib.import_module(gate)
    importer = threading.Thread(target=importlib.import_module, args=(slow,))
    importer.start()
    try:
        assert events.started.wait(60)
        assert importer.ident is not None
        loading.watch(importer.ident, after=0.0)
    finally:
        events.go.set()
        importer.join()
        sys.modules.pop(gate), sys.modules.pop(slow, None)
    assert capfd.readouterr().err == f"{loading.LINE}\n"


def test_other_work_is_not_an_import() -> None:
    assert not loading.is_importing(sys._getframe())
    assert not loading.is_importing(None)
