"""When a switch takes effect, and how a timed prompt reads."""

import pytest

from longtake.platform.prompts import Part, Prompt, Switch, first_frame


@pytest.mark.parametrize(("seconds", "frame"), [(0.75, 3), (0.76, 6), (15.0, 60), (20, 81), (20.25, 81), (20.3, 84)])
def test_a_switch_waits_for_the_next_block(seconds, frame):
    assert first_frame(seconds, 4, 3) == frame


def test_times_that_are_no_binary_fractions_do_not_slip_a_block():
    assert [first_frame(block * 0.3, 10, 3) for block in range(2000)] == [3 * block for block in range(2000)]


def test_switches_keep_times_texts_and_cuts():
    prompt = Prompt("a", (Part(20.0, "b"), Part(30.0, "a", True)))
    assert prompt.switches(4, 3) == (Switch(20.0, "b", frame=81), Switch(30.0, "a", True, frame=120))
    assert (str(prompt), str(Prompt("a"))) == ("a | 20 s: b | 30 s, cut: a", "a")
