"""A stream that lags: a thread runs its work in order, each piece after a random pause.

It replaces a GPU's stream in tests on a CPU, so that code which does not wait for it finds unfinished work.
"""

import random
import threading
import time
from contextlib import nullcontext
from queue import SimpleQueue

from longtake.platform.generation.bank.streams import HostStream, Streams


class Passed:
    def __init__(self):
        self.event = threading.Event()

    def synchronize(self):
        assert self.event.wait(30), "a stream has stopped"


class LaggingStream:
    """`deaf`: does not wait for events, so that tests can show that a missing wait is detected."""

    def __init__(self, seed, pause=0.002, deaf=False):
        self.work, self.deaf, self.pause = SimpleQueue(), deaf, pause
        self.random, self.errors = random.Random(seed), []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while (work := self.work.get()) is not None:
            time.sleep(self.random.random() * self.pause)
            try:
                work()
            except BaseException as error:  # raised again by `end`, in the thread of the test
                self.errors.append(error)

    def run(self, work):
        self.work.put(work)

    def opened(self):
        return nullcontext()

    def copy(self, target, source):
        self.run(lambda: target.copy_(source))

    def record(self):
        passed = Passed()
        self.run(passed.event.set)
        return passed

    def wait(self, event):
        if not self.deaf:
            self.run(event.synchronize)

    def uses(self, tensor):
        pass

    def end(self):
        self.record().synchronize()
        self.work.put(None)
        if self.errors:
            raise self.errors[0]


def lagging_streams(deaf=()):
    """All three streams lag, and those named in `deaf` do not wait."""
    return Streams(*(LaggingStream(seed, deaf=name in deaf) for seed, name in enumerate(("computing", "out", "into"))))


def streams_beside_the_host():
    """The calling thread computes, and the copy streams lag."""
    return Streams(HostStream(), LaggingStream(1), LaggingStream(2))
