"""A stream that lags: its work runs in order in a thread of its own, each piece after a random pause.

It stands in for a GPU's stream where there is none, so that whatever does not wait for it meets unfinished work.
"""

import random
import threading
import time
from contextlib import nullcontext
from queue import SimpleQueue

from longtake.platform.generation.streams import HostStream, Streams


class Passed:
    def __init__(self):
        self.event = threading.Event()

    def synchronize(self):
        assert self.event.wait(30), "a stream has stopped"


class LaggingStream:
    """`deaf`: does not wait for events, which a test of the waiting must notice."""

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
    """All three lag; those named do not wait."""
    return Streams(*(LaggingStream(seed, deaf=name in deaf) for seed, name in enumerate(("computing", "out", "into"))))


def streams_beside_the_host():
    """The calling thread computes; copies lag."""
    return Streams(HostStream(), LaggingStream(1), LaggingStream(2))
