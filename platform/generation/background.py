"""A helper thread that makes calls one after the other.

It starts with the first call and ends when its owner is collected or Python exits. Until then it keeps only waiting
calls alive. At the end it finishes the running call and cancels the waiting ones.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import torch

END_SECONDS = 10.0
"""How long to wait at the end for the running call."""


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


class Background:
    """`prepare` runs in the thread before every call; it selects the CUDA device and must not refer to the owner."""

    def __init__(self, name: str, prepare: Callable[[], None]):
        self.waiting: SimpleQueue[Call | None] = SimpleQueue()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=serve, args=(self.waiting, self.closed, prepare), name=name, daemon=True)
        weakref.finalize(self, end, self.waiting, self.closed, self.thread)

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Queue `function(*args)`. The future returns its result or raises its error."""
        if self.thread.ident is None:
            self.thread.start()
        call = Call(function, args)
        self.waiting.put(call)
        return call.future


def serve(waiting: "SimpleQueue[Call | None]", closed: threading.Event, prepare: Callable[[], None]) -> None:
    with torch.inference_mode():  # tensors created here can be written only in inference mode
        while (call := waiting.get()) is not None:
            if closed.is_set():
                call.future.cancel()
            call.make(prepare)
            del call  # otherwise it would keep its tensors and its owner alive until the next call


def end(waiting: "SimpleQueue[Call | None]", closed: threading.Event, thread: threading.Thread) -> None:
    """Let the running call finish and start no other: at exit, no call may be inside a driver that is shutting down."""
    closed.set()
    waiting.put(None)
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(END_SECONDS)
