"""What a check is: a function of the part under test that returns what it saw, or raises Broken with what is wrong."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Check = Callable[[Any], str]
Checks = dict[str, Check]
PROMPT = "dusk, brick; pan right 6 s, left 6 s, repeat"
OTHER_PROMPT = "noon, stone; pan left 3 s, right 3 s, repeat"
UNKNOWN = "no-such-name"


class Broken(Exception):
    """A rule of the contract that the part breaks."""


@dataclass(frozen=True)
class Verdict:
    check: str
    passed: bool
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


def verdicts(checks: Checks, subject: Any) -> Iterator[Verdict]:
    """One for each check, in order. Whatever else a part raises breaks the check that met it."""
    for name, check in checks.items():
        try:
            yield Verdict(name, True, check(subject))
        except Broken as broken:
            yield Verdict(name, False, str(broken))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
            yield Verdict(name, False, f"{place}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def disturb(seed: int) -> None:
    """Leave the process' own generators of random numbers in another state, as other work does."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
