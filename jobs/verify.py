"""`longtake verify FOLDER`: runs golden cases through the engine and compares everything that they record.

A case passes if every array is within the tolerance, every block attends the same entries in every row, and every
choice is the same. What a case records but ours cannot be compared with is named, as is what it should record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from longtake.jobs.golden.arrays import TOLERANCE, Difference, differences
from longtake.jobs.golden.case import Case, case_files, read_case
from longtake.jobs.golden.choices import Log, logs
from longtake.jobs.golden.engine import build_rollout, run
from longtake.jobs.golden.recorded import check_keys
from longtake.jobs.golden.tables import KEYS, same_choice
from longtake.platform.errors import LongtakeError

FACTS = {
    *("case", "weights", "arch", "batch", "num_frames", "dtype", "config", "blocks", "prompts"),
    *("prompt_string", "recorded_from", "recorded_with", "seed", "layout_of_attended", "smallest_topk_gap", "tensors"),
    "sampled_query_rows",
}
"""Keys of a case that are read, or describe the recording."""
USUAL = ("flow_ctx", "x0_steps", "step_timesteps")
"""Arrays that the format asks of every case."""
MEMORY = ("memory_k_last_layer", "memory_v_last_layer")
USUAL_OF = {
    "deep-forcing": ("compressions",),
    "dummy-forcing": ("head_groups", "head_scores_first_mid_last"),
    "ema-sink": ("sink_k_last_layer", "sink_v_last_layer"),
    "fademem": (*MEMORY, "memory"),
    "forcing-kv": ("chunk_selections",),
    "memrope": tuple(f"ema_{name}_{part}_last_layer" for name in ("long", "short") for part in "kv"),
    "tethercache": (*MEMORY, "admissions"),
}
"""Arrays and logs that the cases of a method have besides."""
SHOWN = ("output", "flow_ctx")


@dataclass(frozen=True)
class Verdict:
    """`arrays`, `logs`: by name, what was compared; `frames_agree`: every block attended the same. `unread`: what is
    recorded and not compared; `missing`: what is not recorded. `problem`: why the case could not run."""

    case: str
    arrays: Mapping[str, Difference] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)
    frames_agree: bool = False
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        alike = all(array.size <= TOLERANCE for array in self.arrays.values())
        return not self.problem and self.frames_agree and alike and all(log.agrees for log in self.logs.values())


def verify(folder: Path) -> int:
    """Prints a verdict per case of `folder`; returns 0 if all pass, else 1. ConfigError if there is none."""
    torch.set_num_threads(1)
    table = Table("case", "output", "flow", "arrays", "frames", "choices", "verdict", title=f"tolerance {TOLERANCE:g}")
    verdicts = [verdict_of(path) for path in case_files(folder)]
    for verdict in verdicts:
        table.add_row(*cells(verdict))
    console = Console()
    console.print(table)
    for verdict in verdicts:
        if verdict.problem or detail(verdict):
            console.print(f"{verdict.case}: {verdict.problem or detail(verdict)}", markup=False, soft_wrap=True)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def verdict_of(path: Path) -> Verdict:
    """A case that cannot run counts as failed, with its reason, whatever is in its files; the other cases still run."""
    try:
        return verify_case(path)
    except Exception as error:
        reason = str(error) if isinstance(error, LongtakeError) else f"{path}: {type(error).__name__}: {error}"
        return Verdict(path.stem, problem=" ".join(reason.split()))


def cells(verdict: Verdict) -> list[str]:
    shown = [verdict.arrays[name].size if name in verdict.arrays else None for name in SHOWN]
    others = [array.size for name, array in verdict.arrays.items() if name not in SHOWN]
    numbers = ["-" if size is None else f"{size:.1e}" for size in (*shown, max(others, default=None))]
    agree = ["DIFFER", "agree"]
    choices = agree[all(log.agrees for log in verdict.logs.values())] if verdict.logs else "-"
    return [verdict.case, *numbers, agree[verdict.frames_agree], choices, "pass" if verdict.passed else "FAIL"]


def detail(verdict: Verdict) -> str:
    """What the table does not show: what differs, and what was not compared."""
    off = [f"{name} {array.size:.1e}" for name, array in verdict.arrays.items() if array.size > TOLERANCE]
    off += [name for name, log in verdict.logs.items() if not log.agrees]
    partly = [f"{name}: {array.part}" for name, array in verdict.arrays.items() if array.part]
    said = {"differ": off, "in part": partly, "not compared": verdict.unread, "not recorded": verdict.missing}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)


def verify_case(path: Path) -> Verdict:
    """Run one case and compare."""
    case = read_case(path)
    check_keys(path, case.facts["config"])
    blocks = case.facts["blocks"]
    made = run(build_rollout(path, case.facts, case.tensors), len(blocks))
    arrays = dict(differences(made, case))
    compared, spec = logs(made, case.facts), made.rollout.network.spec
    return Verdict(
        path.stem,
        {name: array for name, array in arrays.items() if array is not None},
        compared,
        all(same_choice(*pair, case.facts, spec) for pair in zip(made.blocks, blocks, strict=True)),
        (*(name for name, array in arrays.items() if array is None), *unread(case, compared)),
        tuple(name for name in usual(case.facts) if name not in case.tensors.keys() | case.facts.keys()),
    )


def unread(case: Case, compared: Mapping[str, Log]) -> list[str]:
    """Keys of the JSON that were not compared, nor read."""
    own = [key for key in case.facts if key not in FACTS | compared.keys()]
    of_blocks = {key for block in case.facts["blocks"] for key in block} - KEYS - compared.keys()
    of_logs = [f"{name}.{key}" for name, log in compared.items() for key in log.unread]
    return [*own, *(f"blocks.{key}" for key in sorted(of_blocks)), *of_logs]


def usual(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a case like this should record."""
    method = facts["config"].get("method")
    return (*USUAL, *USUAL_OF.get(method, ())) if method else (*USUAL, "descriptors")
