"""SIGHUP stops a job like SIGTERM, also when its terminal is gone, unless the process was started to ignore it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

CODE = """
import signal, sys, time
from longtake.platform.workers.signals import StopFlag, raise_on_stop, stop_signals
raise_on_stop()
stop = StopFlag()
stop.install()
print("ready", flush=True)
while not stop.is_set:
    time.sleep(0.01)
print("drained", flush=True)
open(sys.argv[1], "w").write(f"{stop.signal_name} {stop.count}")
sys.exit(75)
"""


def test_a_job_whose_terminal_closes_still_ends_in_order(tmp_path: Path) -> None:
    leader, follower = os.openpty()
    command = [sys.executable, "-c", CODE, str(tmp_path / "seen")]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    assert os.read(leader, 5) == b"ready"
    os.close(leader)  # what the job prints now fails, if it is printed there
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 75
    assert (tmp_path / "seen").read_text() == "SIGHUP 1"


def test_a_job_that_was_started_to_survive_its_terminal_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / "seen")]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "drained\n"
    assert process.returncode == 75
    assert (tmp_path / "seen").read_text() == "SIGTERM 1"


def test_a_child_that_starts_meanwhile_survives_the_terminal_and_its_parent_is_still_told() -> None:
    from longtake.platform.workers.signals import handlers_restored, hangup_kept_from_children, raise_on_stop

    with handlers_restored():
        raise_on_stop()
        with pytest.raises(KeyboardInterrupt), hangup_kept_from_children():
            child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            os.kill(child.pid, signal.SIGHUP)
            # to this thread: a process's signal may go to a thread that an earlier test has left
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            assert child.communicate("still here", timeout=60)[0] == "still here"
    assert child.returncode == 0


def test_before_the_loop_every_stop_signal_is_an_interrupt() -> None:
    from longtake.platform.workers.signals import handlers_restored, raise_on_stop, stop_signals

    with handlers_restored():
        raise_on_stop()
        for number in stop_signals():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
                time.sleep(1)
