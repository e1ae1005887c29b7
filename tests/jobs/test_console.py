"""Tables on narrow terminals: printed in parts, with the names of the rows in each, and nothing cut."""

import io
import re
import time

from rich.console import Console

from longtake.jobs.console import LiveDisplay, new_table, print_table


def printed(width: int, keys: int) -> list[str]:
    table = new_table("a title that is longer than the terminal is wide")
    for name in ("cell", "first", "second", "third"):
        table.add_column(name, no_wrap=True)
    table.add_row("pocket/native", "0.111111", "0.222222", "0.333333")
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_table(console, table, keys)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_terminal_shows_how_long_a_start_has_taken() -> None:
    out = io.StringIO()
    with LiveDisplay(Console(file=out, force_terminal=True, width=80)):
        end = time.monotonic() + 30
        while len(shown := set(re.findall(r"starting, \d+ s", out.getvalue()))) < 3 and time.monotonic() < end:
            time.sleep(0.1)
    assert len(shown) == 3, "nothing but the clock updates it"


def test_a_table_that_fits_is_printed_once() -> None:
    assert sum("pocket/native" in line for line in printed(80, 1)) == 1


def test_columns_that_do_not_fit_follow_below_with_the_names_of_the_rows() -> None:
    lines = printed(30, 1)  # 'pocket/native' and one number: 3 + 13 + 8 and gaps
    assert lines[0] == "a title that is longer than the terminal is wide"
    rows = [line.split() for line in lines if "pocket/native" in line]
    assert rows == [["pocket/native", number] for number in ("0.111111", "0.222222", "0.333333")]
    assert all(len(line) <= 30 for line in lines[1:])
