"""A helper thread that makes calls one after the other.

It starts with the first call, ends when its owner is collected or Python exits, and keeps nothing alive in between but
the calls that are waiting. At the end it finishes the call it is in; calls that are still waiting are cancelled.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import torch

END_SECONDS = 10.0
"""How long the end waits for the call that is running."""


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
        except BaseException as error:  # whatever it is, it belongs to the thread that asks for the result
            self.future.set_exception(error)


class Background:
    """`prepare` is called in the thread before every call: it chooses the CUDA device, and must not hold the owner."""

    def __init__(self, name: str, prepare: Callable[[], None]):
        self.waiting: SimpleQueue[Call | None] = SimpleQueue()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=serve, args=(self.waiting, self.closed, prepare), name=name, daemon=True)
        weakref.finalize(self, end, self.waiting, self.closed, self.thread)

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """The future of `function(*args)`; what it raises, the future raises."""
        if self.thread.ident is None:
            self.thread.start()
        call = Call(function, args)
        self.waiting.put(call)
        return call.future


def serve(waiting: "SimpleQueue[Call | None]", closed: threading.Event, prepare: Callable[[], None]) -> None:
    with torch.inference_mode():  # tensors made in it may be written nowhere else
        while (call := waiting.get()) is not None:
            if closed.is_set():
                call.future.cancel()
            call.make(prepare)
            del call  # while waiting for the next one it would keep its tensors, and its owner


def end(waiting: "SimpleQueue[Call | None]", closed: threading.Event, thread: threading.Thread) -> None:
    """Let the running call finish, and no other begin: at exit, none may be inside a driver that is going away."""
    closed.set()
    waiting.put(None)
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(END_SECONDS)
