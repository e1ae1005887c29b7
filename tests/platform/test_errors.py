"""An error is one plain line, whatever it was made of."""

import pickle

from longtake.platform.errors import ConfigError, brief, first_line

RAY = "\x1b[36mray::Worker.run()\x1b[39m (pid=7) \x1b[1;31mboom\x1b[0m"  # as Ray writes the place of a task's error


def test_colours_of_a_terminal_are_removed() -> None:
    error = ConfigError(RAY)
    assert str(error) == "ray::Worker.run() (pid=7) boom"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert first_line(RuntimeError(f"{RAY}\nmore")) == "ray::Worker.run() (pid=7) boom"


def test_a_secret_that_the_cut_halves_is_masked() -> None:
    """At 30 characters the cut is inside of the password, and nothing behind it says that it was one."""
    assert brief("no answer from https://ada:hunter2@example.org", 30) == "no answer from https://***@exa"
