"""A contact sheet: frames over time, one row per cell, as one PNG. Reads the store and its videos, changes neither.

Rows of equal length share a header of times, so that a column shows the same time in every cell. All rows are from one
prompt (the one with videos of the most cells), because rows are only comparable within a prompt.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.errors import VideoError
from longtake.platform.store import durable
from longtake.platform.takes import Take
from longtake.platform.video.reading import probe, read_frames

if TYPE_CHECKING:
    from PIL import Image

    from longtake.platform.store.sweep import SweepStore

COLUMNS = 9
FRAME_HEIGHT_PX = 96
LABEL_PX, GAP_PX, HEADER_PX, TITLE_PX = 190, 4, 24, 34
INK, FAINT, PAPER = (20, 20, 24), (110, 110, 118), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """Frames of one cell; `frames` is empty if the video could not be read, and `note` has the reason."""

    label: str
    note: str
    seconds: int
    frames: list[Image.Image]
    times: list[float]


def write(store: SweepStore, takes: list[Take], columns: int = COLUMNS) -> Path | None:
    """Write the contact sheet of the finished takes to the store. Returns None if there are no finished takes."""
    done = store.done_ids()
    chosen = choose([take for take in takes if take.id in done])
    if not chosen:
        return None
    rows = [read_row(take, store.video(take.id), columns) for take in chosen]
    sheet = draw(rows, f"{store.name}: {printable(chosen[0].prompt)} (seed {chosen[0].seed})", columns)
    return save(sheet, store.contact_sheet_file)


def choose(takes: list[Take]) -> list[Take]:
    """One take per cell, for the prompt and seed with the most cells (the first in case of a tie)."""
    cells_of: dict[tuple[str, int], set[Any]] = {}
    for take in takes:
        cells_of.setdefault((take.prompt, take.seed), set()).add(take.cell)
    if not cells_of:
        return []
    best = max(cells_of, key=lambda key: len(cells_of[key]))
    by_cell = {take.cell: take for take in reversed(takes) if (take.prompt, take.seed) == best}
    order = list(dict.fromkeys(take.cell for take in takes if take.cell in by_cell))
    return [by_cell[cell] for cell in sorted(order, key=lambda cell: cell.seconds)]


def read_row(take: Take, path: Path, columns: int) -> Row:
    label = f"{take.backbone}\n{take.method.label}\n{take.seconds} s"
    try:
        header = probe(path)
        indices = [round(i * (header.num_frames - 1) / max(1, columns - 1)) for i in range(columns)]
        frames = frames_at(read_frames(path), indices)
    except VideoError as error:
        return Row(label, printable(str(error)), take.seconds, [], [])
    return Row(label, "", take.seconds, frames, [index / header.fps for index in indices])


def frames_at(batches: Iterable[Any], indices: list[int]) -> list[Image.Image]:
    """The frames at ascending `indices`, scaled to the row height; holds one batch at a time."""
    from PIL import Image

    images, start = [], 0
    for batch in batches:
        for index in (i for i in indices if start <= i < start + len(batch)):
            image = Image.fromarray(batch[index - start])
            width = max(1, round(image.width * FRAME_HEIGHT_PX / image.height))
            images.append(image.resize((width, FRAME_HEIGHT_PX), Image.Resampling.LANCZOS))
        start += len(batch)
    return images


def draw(rows: list[Row], title: str, columns: int) -> Image.Image:
    from PIL import Image, ImageDraw

    column_px = max((image.width for row in rows for image in row.frames), default=FRAME_HEIGHT_PX) + GAP_PX
    groups = [[row for row in rows if row.seconds == seconds] for seconds in sorted({row.seconds for row in rows})]
    height = TITLE_PX + len(groups) * HEADER_PX + len(rows) * (FRAME_HEIGHT_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (LABEL_PX + columns * column_px + GAP_PX, height), PAPER)
    pen, y = ImageDraw.Draw(sheet), TITLE_PX
    pen.text((GAP_PX * 2, 8), fitted(title, sheet.width - 4 * GAP_PX, 15), INK, font(15))
    for group in groups:
        times = next((row.times for row in group if row.times), [])
        for column, seconds in enumerate(times):
            pen.text((LABEL_PX + column * column_px, y + 5), f"{seconds:.1f} s", FAINT, font(12))
        y += HEADER_PX
        for row in group:
            draw_row(sheet, pen, row, y, column_px)
            y += FRAME_HEIGHT_PX + GAP_PX
    return sheet


def draw_row(sheet: Image.Image, pen: Any, row: Row, y: int, column_px: int) -> None:
    for line, text in enumerate(row.label.split("\n")):
        pen.text((GAP_PX * 2, y + 18 + 19 * line), fitted(text, LABEL_PX - 3 * GAP_PX, 14), INK, font(14))
    for column, image in enumerate(row.frames):
        sheet.paste(image, (LABEL_PX + column * column_px, y))
    if row.note:
        pen.text((LABEL_PX, y + 38), fitted(row.note, sheet.width - LABEL_PX, 12), INK, font(12))


def font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def fitted(text: str, width_px: int, size: int) -> str:
    """The text, shortened with an ellipsis to fit the width."""
    if font(size).getlength(text) <= width_px:
        return text
    while text and font(size).getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."


def printable(text: str) -> str:
    """The text with spaces in place of unprintable characters, because prompts are untrusted data."""
    return "".join(char if char.isprintable() else " " for char in text)


def save(sheet: Image.Image, path: Path) -> Path:
    """Write the sheet atomically. Raises StorageError."""
    data = io.BytesIO()
    sheet.save(data, format="PNG")
    durable.replace_file(path, data.getvalue())
    return path
