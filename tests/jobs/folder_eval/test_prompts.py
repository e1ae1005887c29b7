"""Prompts of a folder of videos: VBench's JSON, or CSV; a video by its path, file name or stem."""

from pathlib import Path

import pytest

from longtake.jobs.folder_eval.prompts import from_names, match, read_prompts
from longtake.platform.errors import ConfigError

VIDEOS = ["a.mp4", "deep/b.mkv", "deep/a.b.mp4"]


def prompts(tmp_path: Path, text: str, name: str = "prompts.json") -> tuple[dict[str, str], list[str]]:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return match(read_prompts(file), VIDEOS, file)


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    expected = {"a.mp4": 'a "wall", white', "deep/b.mkv": "ein Fluß", "deep/a.b.mp4": "x"}
    json = '{"a.mp4": "a \\"wall\\", white", "b": "ein Fluß", "./deep/a.b.mp4": "x", "gone.mp4": "y"}'
    assert prompts(tmp_path, json) == (expected, ["gone.mp4"])
    csv = '\ufeffvideo,seed,prompt\na,0,"a ""wall"", white"\nb.mkv,1,ein Fluß\na.b,2,x\ngone.mp4,3,y\n'
    assert prompts(tmp_path, csv, "prompts.csv") == (expected, ["gone.mp4"])


def test_a_path_wins_over_a_stem_and_a_name_of_two_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    videos = ["v.mp4", "v.mkv", "deep/v.mp4"]
    found, unknown = match([("v.mp4", "1"), ("v.mkv", "2"), ("deep/v.mp4", "3")], videos, file)
    assert (found, unknown) == ({"v.mp4": "1", "v.mkv": "2", "deep/v.mp4": "3"}, [])
    with pytest.raises(ConfigError, match=r"p\.json: 'v' matches v\.mp4 and v\.mkv; write the path"):
        match([("v", "1")], videos, file)


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ('{"a": "1", "a.mp4": "2", "b": "", "a.b": ""}', "p.json", "a.mp4 has two prompts"),
        ('["a", "b"]', "p.json", "not a JSON object"),
        ('"a"', "p.json", "not a JSON object"),
        ('{"a": 1}', "p.json", "the prompt is not a string"),
        ('{"a": {}}', "p.json", "the prompt is not a string"),
        ('{"a": ', "p.json", "is not JSON"),
        ("[" * 100_000, "p.json", "is not JSON"),
        ("name,prompt\na,b\n", "p.csv", "line 1 does not have"),
        ("", "p.csv", "line 1 does not have"),
        ("video,prompt\na,one, two\n", "p.csv", "line 2 and line 1 differ in number of columns"),
        ("video,prompt\na\n", "p.csv", "line 2 and line 1 differ in number of columns"),
        ('video,prompt\na,"one" two\n', "p.csv", "line 2 is not CSV"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        prompts(tmp_path, text, name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_prompts(tmp_path / "gone.json")
    (tmp_path / "p.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match="byte 7 is not UTF-8"):
        read_prompts(tmp_path / "p.json")


def test_videos_named_by_their_prompts() -> None:
    named = from_names(["a dog runs-0.mp4", "deep/a cat, 2-4 legs-12.mkv", "plain.mp4"])
    assert list(named.values()) == ["a dog runs", "a cat, 2-4 legs", "plain"]


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(("named", "video"), [(NFC, NFD), (NFD, NFC), (NFC, NFC)])
def test_unicode_forms_of_a_name_match_if_nothing_matches_exactly(tmp_path: Path, named: str, video: str) -> None:
    for name in (f"{named}", f"{named}.mp4", f"deep/{named}.mp4"):
        assert match([(name, "p")], [f"deep/{video}.mp4", "b.mp4"], tmp_path) == ({f"deep/{video}.mp4": "p"}, [])
    assert from_names([f"{video}-0.mp4"]) == {f"{video}-0.mp4": NFC}


def test_an_exact_name_wins_and_two_that_look_alike_are_refused(tmp_path: Path) -> None:
    both = [f"{NFC}.mp4", f"{NFD}.mp4"]
    assert match([(NFC, "1"), (NFD, "2")], both, tmp_path)[0] == {both[0]: "1", both[1]: "2"}
    hangul = ["\u1112\u1161\u11ab.mp4", "\u1112\u1161\u11ab.mkv"]
    with pytest.raises(ConfigError, match="write the path in the folder"):
        match([("\ud55c", "1")], hangul, tmp_path)
