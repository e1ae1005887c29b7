"""What a check is: a function of the part under test that returns what it saw, or raises Broken with what is wrong."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtake.platform.errors import brief

Check = Callable[[Any], str]
Checks = dict[str, Check]
PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
OTHER_PROMPT = "noon, stone; pan left 3 s, right 3 s, repeat"
UNKNOWN = "no-such-name"
DECLARATION = "declaration"
"""The first check of every kind: the part can be made. If it fails, the others are not run."""


class Broken(Exception):
    """A rule of the contract that the part breaks."""


@dataclass(frozen=True)
class Verdict:
    """`passed`: None for a check that was not run."""

    check: str
    passed: bool | None
    detail: str


def require(holds: object, broken: str) -> None:
    if not holds:
        raise Broken(broken)


def named(checks: Checks, name: str) -> Callable[[Check], Check]:
    """Decorator that adds a check to those of its kind."""

    def add(check: Check) -> Check:
        checks[name] = check
        return check

    return add


def verdicts(checks: Checks, subject: Any, file: str = "") -> Iterator[Verdict]:
    """One for each check, in order. Any other exception of a part fails the check, with its line in the plug-in's
    `file`, or else the part's name."""
    made = True
    for name, check in checks.items():
        verdict = verdict_of(name, check, subject, file) if made else Verdict(name, None, "")
        made = made and (verdict.passed is True or name != DECLARATION)
        yield verdict


def verdict_of(name: str, check: Check, subject: Any, file: str) -> Verdict:
    try:
        return Verdict(name, True, check(subject))
    except Broken as broken:
        return Verdict(name, False, str(broken))
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file.rpartition('/')[2]}:{lines[-1]}" if lines else subject.name
        return Verdict(name, False, f"{place}: {type(error).__name__}: {brief(error, 200)}")


def disturb(seed: int) -> None:
    """Leave the process' own generators of random numbers in another state, as other work does."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
