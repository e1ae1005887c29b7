"""What a case records for each row of a batch, or once for all."""

from typing import Any


def depth(value: Any) -> int:
    """How many lists lie in each other."""
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def by_row(value: Any, lists: int, batch: int) -> list[Any]:
    """One value a row: `value` for each, if so many `lists` lie in each other in it, else it is a list of them."""
    per_row = depth(value) > lists or (batch > 1 and isinstance(value, list) and value == [[]] * batch)
    if per_row and len(value) != batch:
        raise ValueError(f"{len(value)} rows are recorded of a batch of {batch}")
    return value if per_row else [value] * batch
