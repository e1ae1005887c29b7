"""A helper thread that makes calls one after the other.

It starts with the first call and ends when its owner is collected or Python exits. Until then it keeps only waiting
calls alive. At the end it finishes the running call and cancels the waiting ones.
"""

import atexit
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import torch

END_SECONDS = 10.0
"""How long to wait at exit for the calls that are running."""


class Call:
    """A call and the future of its result."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]):
        self.function, self.args = function, args
        self.future: Future[Any] = Future()

    def make(self, prepare: Callable[[], None]) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            prepare()
            self.future.set_result(self.function(*self.args))
        except BaseException as error:  # any error is raised in the thread that asks for the result
            self.future.set_exception(error)


@dataclass(frozen=True, eq=False)
class Helper:
    """A thread and its queue, without a reference to the owner."""

    prepare: Callable[[], None]
    waiting: "SimpleQueue[Call | None]" = field(default_factory=SimpleQueue)
    closed: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """In the thread: make calls until the end."""
        with torch.inference_mode():  # tensors created here can be written only in inference mode
            while (call := self.waiting.get()) is not None:
                if self.closed.is_set():
                    call.future.cancel()
                call.make(self.prepare)
                del call  # otherwise it would keep its tensors and its owner alive until the next call

    def end(self) -> None:
        """Let the running call finish and start no other."""
        self.closed.set()
        self.waiting.put(None)


class Background:
    """`prepare` runs in the thread before every call; it selects the CUDA device and must not refer to the owner."""

    def __init__(self, name: str, prepare: Callable[[], None]):
        self.helper = Helper(prepare)
        self.thread = threading.Thread(target=self.helper.serve, name=name, daemon=True)
        # The collector may run inside any lock of this thread, so that waiting for another thread there could block.
        weakref.finalize(self, self.helper.end).atexit = False

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Queue `function(*args)`. The future returns its result or raises its error."""
        if self.thread.ident is None:
            STARTED[self.thread] = self.helper
            self.thread.start()
        call = Call(function, args)
        self.helper.waiting.put(call)
        return call.future


STARTED: "weakref.WeakKeyDictionary[threading.Thread, Helper]" = weakref.WeakKeyDictionary()


@atexit.register
def end_all() -> None:
    """At exit no call may be inside a driver that is shutting down."""
    alive = [(thread, helper) for thread, helper in STARTED.items() if thread.is_alive()]
    for _, helper in alive:
        helper.end()
    for thread, _ in alive:
        thread.join(END_SECONDS)
