"""A helper thread makes calls in order, passes errors to the caller, and ends by itself."""

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch

from longtake.platform.generation.bank.background import Background


def nothing():
    pass


def threads(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_calls_are_made_in_order_and_errors_come_back():
    helper, made = Background("test-order", nothing), []

    def fail():
        made.append("failed")
        raise OSError("no")

    futures = [helper.submit(made.append, 1), helper.submit(fail), helper.submit(made.append, 2)]
    assert futures[2].result() is None
    assert made == [1, "failed", 2]
    with pytest.raises(OSError, match="no"):
        futures[1].result()


def test_a_device_that_cannot_be_chosen_fails_the_call():
    def prepare():
        raise RuntimeError("no such device")

    helper = Background("test-prepare", prepare)
    with pytest.raises(RuntimeError, match="no such device"):
        helper.submit(nothing).result()


def test_it_may_write_what_inference_has_made():
    with torch.inference_mode():
        target = torch.zeros(3)
    helper = Background("test-inference", nothing)
    helper.submit(target.fill_, 2.0).result()
    assert target.tolist() == [2, 2, 2]


def test_the_thread_ends_with_its_owner_and_keeps_no_arguments():
    helper, argument = Background("test-end", nothing), torch.zeros(3)
    helper.submit(argument.fill_, 1.0).result()
    seen = weakref.ref(argument)
    del argument
    while seen() is not None:  # the call is released shortly after its result is set
        time.sleep(0.001)
    (thread,) = threads("test-end")
    del helper
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_what_still_waits_at_the_end_is_cancelled():
    helper, gate, begun = Background("test-cancel", nothing), threading.Event(), threading.Event()
    running = helper.submit(lambda: (begun.set(), gate.wait(5)))
    waiting = helper.submit(nothing)
    begun.wait(5)
    threading.Timer(0.05, gate.set).start()
    del helper
    gc.collect()
    assert running.result() == (None, True)
    while not waiting.done():
        time.sleep(0.001)
    assert waiting.cancelled()


AT_EXIT = """
import sys, threading, time
from longtake.platform.generation.bank.background import Background

begun = threading.Event()
helper = Background("at-exit", lambda: None)
helper.submit(lambda: (begun.set(), time.sleep(0.3), print("finished", flush=True)))
helper.submit(print, "never")
begun.wait()
"""


@pytest.mark.slow
def test_python_ends_behind_the_running_call_and_before_the_next():
    ran = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("finished\n", "")
