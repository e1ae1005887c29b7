"""The key `prompts`: plain and timed prompts, where they are read from, and what is wrong with a bad one."""

import json
from pathlib import Path

import pytest

from longtake.jobs.cli import execute
from longtake.jobs.sweep import spec as sweeps
from longtake.jobs.sweep.grid import expand
from longtake.jobs.sweep.prompts import find_prompt_file, read_prompts
from longtake.platform.errors import ConfigError
from longtake.platform.prompts import Part, Prompt, Switch
from longtake.platform.settings import config
from longtake.platform.takes import Take
from tests.jobs import tiny

DUSK, NOON = "dusk, brick; pan right 3 s", "noon, stone; pan left 3 s"

BREAKS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
"""What str.splitlines would cut at and no editor does."""


def test_lines_of_a_prompt_file_end_only_where_an_editor_ends_them(tmp_path: Path) -> None:
    head = "name: s\nbackbones: [pocket]\nmethods: [native]\nlengths_s: [30]\n"
    (tmp_path / "s.yaml").write_text(f"{head}prompts: {{file: p.txt}}\n")
    text = (
        f"\ufeff# note\r\n{BREAKS}\r\n\r\nthe second\rthe third\n\ufeffthe fourth"  # two files joined, each with a mark
    )
    (tmp_path / "p.txt").write_bytes(text.encode())
    sweep = sweeps.load(tmp_path / "s.yaml")
    assert read_prompts(sweep.prompts, tmp_path / "s.yaml") == [
        Prompt(text) for text in (BREAKS, "the second", "the third", "the fourth")
    ]


def test_a_list_of_prompts_in_a_sweep_is_cut_nowhere_either(tmp_path: Path) -> None:
    prompts = ["a\u2028b", "a\u2029 - b", "a\x85b: c"]
    head = "\ufeffname: s\nbackbones: [pocket]\nmethods: [native]\nlengths_s: [30]\n"
    plain, quoted = f"- {prompts[0]}\n- {prompts[1]}\n", f'- "{prompts[2]}"\n'
    (tmp_path / "s.yaml").write_text(f"{head}prompts:\n{plain}{quoted}", encoding="utf-8")
    sweep = sweeps.load(tmp_path / "s.yaml")
    assert [one.text for one in read_prompts(sweep.prompts, tmp_path / "s.yaml")] == prompts
    (tmp_path / "stored.yaml").write_text(config.dump(sweep), encoding="utf-8")
    assert sweeps.load(tmp_path / "stored.yaml") == sweep


def test_a_prompt_file_may_lie_under_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.txt").write_text("a\n")
    for name in ("~/p.txt", "$HOME/p.txt"):
        assert find_prompt_file(name, tmp_path / "deep" / "s.yaml") == tmp_path / "p.txt"


def test_prompts_are_looked_for_beside_the_sweep_first(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\n\ndusk, brick; pan right 3 s\nnoon, stone; pan left 3 s\n")
    grid = expand(tiny.write_sweep(tmp_path), ["prompts={file: mine.txt, limit: 1}"])
    assert grid.prompts == [Prompt("dusk, brick; pan right 3 s")]


TIMED = """
prompts:
  - dusk, brick; pan right 3 s
  - - {at_s: 0, text: "dusk, brick; pan right 3 s"}
    - {at_s: 1, text: " noon, stone; pan left 3 s "}
    - {at_s: 2.25, text: "dusk, brick; pan right 3 s", cut: true}
"""


def timed_sweep(folder: Path) -> Path:
    lines = [line for line in tiny.SWEEP.splitlines() if not line.startswith("prompts")]
    return tiny.write_sweep(folder, "\n".join(lines) + TIMED)


def test_a_timed_prompt_becomes_takes_with_switches(tmp_path: Path) -> None:
    """Blocks begin every 0.75 s: a text asked for at 1 s begins at 1.5 s, latent frame 6."""
    grid = expand(timed_sweep(tmp_path), ["methods=[native]", "lengths_s=[3]"])
    plain, timed = grid.takes
    assert plain.switches == ()
    assert timed.prompt == plain.prompt
    assert timed.switches == (Switch(1.0, NOON, frame=6), Switch(2.25, DUSK, True, frame=9))
    assert timed.id != plain.id
    assert timed.full_prompt == f"{DUSK} | 1 s: {NOON} | 2.25 s, cut: {DUSK}"


def test_timed_prompts_are_kept_with_the_results(tmp_path: Path) -> None:
    grid = expand(timed_sweep(tmp_path))
    again = tmp_path / "again.yaml"
    again.write_text(grid.config_yaml)
    assert expand(again).takes == grid.takes
    assert [Take.from_json(json.loads(json.dumps(take.to_json()))) for take in grid.takes] == grid.takes


def test_a_file_of_json_lines_holds_plain_and_timed_prompts(tmp_path: Path) -> None:
    entries = [DUSK, [{"at_s": 0, "text": DUSK}, {"at_s": 1, "text": NOON}], NOON]
    (tmp_path / "mine.jsonl").write_text("# mine\n\n" + "\n".join(map(json.dumps, entries)))
    grid = expand(tiny.write_sweep(tmp_path), ["prompts={file: mine.jsonl, limit: 2}"])
    assert grid.prompts == [Prompt(DUSK), Prompt(DUSK, (Part(1.0, NOON),))]


def test_a_plan_shows_when_a_text_begins(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["plan", str(timed_sweep(tmp_path))]) == 0
    assert f"prompt: {DUSK} | 1.5 s: {NOON} | 2.25 s, cut: {DUSK}" in capfd.readouterr().out.splitlines()


def part(at_s: object, text: str = NOON, **more: object) -> dict[str, object]:
    return {"at_s": at_s, "text": text, **more}


START = part(0, DUSK)
BAD = [
    ([START, part(2), part(1)], "prompts[0][2].at_s: 1 is not after 2"),
    ([START, part(2), part(2)], "prompts[0][2].at_s: 2 is not after 2"),
    ([part(1), part(2)], "prompts[0][0].at_s: 1 is not 0"),
    ([part(-1), part(2)], "prompts[0][0].at_s: -1 is not 0"),
    ([part(0, cut=True), part(2)], "prompts[0][0].cut: the video begins with the first text"),
    ([START, part(1, "  ")], "prompts[0][1].text: a prompt has 0 characters"),
    ([START, part(1, at=3)], "prompts[0][1]: at: unknown key 'at'; did you mean 'at_s'?"),
    ([START, {"text": NOON}], "prompts[0][1]: at_s: 'at_s' must be set"),
    ([START, part("soon")], "prompts[0][1]: at_s: expects a number, got the text 'soon'"),
    ([START, part(True)], "prompts[0][1]: at_s: expects a number, got true"),
    ([START, part(1, cut="yes")], "prompts[0][1]: cut: expects true or false, got the text 'yes'"),
    ([START, NOON], "prompts[0][1]: 'noon, stone; pan left 3 s' is not a part of a prompt; write"),
    ([], "prompts[0]: [] is not a prompt; write a text, or a list of {at_s: SECONDS"),
    (3, "prompts[0]: 3 is not a prompt"),
    ([START, part(3)], "prompt 1: no block begins at or after 3 s in a take of 3 s; lower at_s"),
    ([START, part(2.5)], "prompt 1: no block begins at or after 2.5 s in a take of 3 s; lower at_s"),
    (
        [START, part(1), part(1.5)],
        "prompt 1: the text before 1.5 s has no block of its own; raise it (a block has 0.75 s)",
    ),
    ([START, part(1, "noon")], "prompt 1: pocket prompt 'noon'"),
    (
        [START, part(1, "noon, stone, long; pan left 3 s")],
        "prompt 1: pocket prompt 'noon, stone, long; pan left 3 s': without",
    ),
]


@pytest.mark.parametrize(("prompt", "rule"), BAD, ids=[rule[:40] for _, rule in BAD])
def test_a_bad_timed_prompt_is_one_line_with_file_key_and_rule(tmp_path: Path, prompt: object, rule: str) -> None:
    path = tiny.write_sweep(tmp_path)
    with pytest.raises(ConfigError) as caught:
        expand(path, [f"prompts={json.dumps([prompt])}"])
    message = str(caught.value)
    assert message.startswith(f"{path}: {rule}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a street", ": is not JSON"),
        ("NaN", ": nan is not a prompt"),
        ('[{"at_s": 0, "text": "a"}, {"at_s": NaN, "text": "b"}]', "[1]: at_s: nan is not a finite number"),
        ("[" * 100_000, ": is not JSON"),
    ],
)
def test_a_bad_line_of_json_is_named(tmp_path: Path, line: str, rule: str) -> None:
    (tmp_path / "mine.jsonl").write_text(f'"a"\n{line}\n')
    with pytest.raises(ConfigError) as caught:
        expand(tiny.write_sweep(tmp_path), ["prompts={file: mine.jsonl}"])
    assert f"mine.jsonl: line 2{rule}" in str(caught.value)


def test_prompts_that_read_the_same_or_make_the_same_video_are_refused(tmp_path: Path) -> None:
    path, first = tiny.write_sweep(tmp_path), [START, part(1)]
    with pytest.raises(ConfigError, match="is listed twice"):
        expand(path, [f"prompts={json.dumps([first, first])}"])
    with pytest.raises(ConfigError, match=r"prompts: .* change at the same blocks to the same texts; remove one"):
        expand(path, [f"prompts={json.dumps([first, [START, part(1.1)]])}"])


def test_a_text_does_not_begin_in_the_given_prefix(tmp_path: Path) -> None:
    path, prompts = tiny.write_sweep(tmp_path), f"prompts={json.dumps([[START, part(1.5)]])}"
    with pytest.raises(
        ConfigError, match=r"prompt 1: at_s 1.5 lies in the prefix, which is given; raise at_s or lower"
    ):
        expand(path, [prompts, "prefix_s=2.25"])
    assert expand(path, [prompts, "prefix_s=1.5"]).takes[0].switches[0].frame == 6
