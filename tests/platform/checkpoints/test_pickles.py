"""No file can make us run its code: hundreds of hostile, foreign and broken pickles are refused, and a canary lives.

The bombs are real: `test_the_bombs_are_armed` lets Python's own unpickler open one of each kind, and the canary dies.
"""

import io
import pickle
import random
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from longtake.platform.checkpoints.pickles import published_state
from longtake.platform.errors import WeightsError

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}") for text in ("Detected pickle protocol", ".*TorchScript archive")
]
SEED = 20261
FILES = 320


class Bomb:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self.call = (function, arguments, state) if state is not None else (function, arguments)

    def __call__(self) -> None:
        """So that a bomb may make the function that another one calls."""

    def __reduce__(self) -> Any:
        return self.call


def bombs(canary: Path) -> dict[str, Any]:
    """Ways to touch the canary while being unpickled."""
    import builtins
    import functools
    import importlib
    import operator
    import os
    import runpy
    import subprocess

    touch, path = f"touch {canary}", str(canary)
    code = f"open({path!r}, 'w').close()"
    return {
        "os.system": Bomb(os.system, touch),
        "subprocess": Bomb(subprocess.call, ["touch", path]),
        "eval": Bomb(eval, code),
        "exec": Bomb(exec, code),
        "open": Bomb(open, path, "w"),
        "os.open": Bomb(os.open, path, os.O_CREAT | os.O_WRONLY),
        "runpy": Bomb(runpy.run_path, str(canary.with_suffix(".py"))),
        "getattr chain": Bomb(Bomb(getattr, Path(path), "touch")),
        "getattr of a module": Bomb(Bomb(getattr, Bomb(importlib.import_module, "os"), "system"), touch),
        "import by name": Bomb(Bomb(getattr, Bomb(builtins.__import__, "os"), "system"), touch),
        "methodcaller": Bomb(operator.methodcaller("touch"), Path(path)),
        "partial": Bomb(functools.partial(os.system, touch)),
        "map": Bomb(list, Bomb(map, os.system, [touch])),
        "nested pickle": Bomb(pickle.loads, pickle.dumps(Bomb(os.system, touch))),
        "storage from bytes": Bomb(torch.storage._load_from_bytes, legacy({"w": Bomb(os.system, touch)})),
        "torch.load": Bomb(
            functools.partial(torch.load, weights_only=False), Bomb(io.BytesIO, legacy(Bomb(os.system, touch)))
        ),
        "state of an allowed class": Bomb(OrderedDict, state={"x": Bomb(os.system, touch)}),
        "argument of an allowed function": Bomb(torch._utils._rebuild_parameter, Bomb(os.system, touch), False, None),
    }


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that must not come to be, beside a script that makes it."""
    path = tmp_path / "canary"
    path.with_suffix(".py").write_text(f"open({str(path)!r}, 'w').close()")
    return path


def legacy(value: Any) -> bytes:
    """As torch.save wrote before 1.6."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def opcodes(canary: Path) -> dict[str, bytes]:
    """Pickles that no pickler writes, by hand: every opcode that names or makes something."""
    text = f"touch {canary}".encode()
    short = b"\x8c" + bytes([len(text)]) + text
    return {
        "GLOBAL REDUCE": b"\x80\x02cos\nsystem\n(" + short + b"tR.",
        "GLOBAL posix": b"cposix\nsystem\n(S'" + text + b"'\ntR.",
        "INST": b"(S'" + text + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + short + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + short + b"\x85R.",
        "torch's own os": b"\x80\x04\x8c\x13torch.serialization\x8c\x09os.system\x93" + short + b"\x85R.",
        "BUILD of a class": b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00xcos\nsystem\n"
        + short
        + b"\x85Rsb.",
        "memo": b"\x80\x02cos\nsystem\nq\x00" + short + b"q\x01h\x00h\x01\x85R.",
        "frame": b"\x80\x04\x95"
        + struct.pack("<Q", 18 + len(text))
        + b"\x8c\x02os\x8c\x06system\x93"
        + short
        + b"\x85R.",
    }


def buried(value: Any, rng: random.Random) -> Any:
    """A hostile value at some place of what looks like a checkpoint."""
    good = {"model.w": torch.ones(2)}
    return rng.choice(
        [
            value,
            {"generator": value},
            {"generator": good, "critic": value},
            {"generator": {**good, "model.v": value}},
            {"generator": OrderedDict(good, v=value)},
            {"generator": good, "config": [1, (2, {"deep": [value]})]},
            {"step": 3, "optimizer": {"state": {0: {"exp_avg": value}}}, "generator": good},
        ]
    )


def archive(pickled: bytes, rng: random.Random, records: dict[str, bytes] | None = None) -> bytes:
    """A zip as torch lays it out, around any pickle."""
    buffer, top = io.BytesIO(), rng.choice(["archive", "model", "x/y"])
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little", **(records or {})}.items():
            file.writestr(f"{top}/{name}", data)
    return buffer.getvalue()


def in_tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def saved(value: Any, rng: random.Random) -> bytes:
    """Written by torch.save, in one of its layouts and protocols."""
    buffer = io.BytesIO()
    torch.save(value, buffer, pickle_protocol=rng.choice([2, 3, 4]), _use_new_zipfile_serialization=rng.random() < 0.7)
    return buffer.getvalue()


def hostile(rng: random.Random, canary: Path) -> bytes:
    """One file that runs code when it is opened carelessly."""
    value = rng.choice(list(bombs(canary).values()))
    raw = rng.choice(list(opcodes(canary).values()))
    makers: list[Callable[[], bytes]] = [
        lambda: saved(buried(value, rng), rng),
        lambda: saved(buried(value, rng), rng),
        lambda: pickle.dumps(buried(value, rng), rng.randrange(6)),
        lambda: raw,
        lambda: archive(raw, rng),
        lambda: archive(pickle.dumps(buried(value, rng), 2), rng),
        lambda: archive(pickle.dumps({"generator": {}}, 2)[:-1] + raw[raw[0] == 0x80 and 2 :], rng),
        lambda: archive(b"\x80\x02}.", rng, {"data/0": archive(raw, rng), "constants.pkl": raw, ".data/x": raw}) + raw,
        lambda: in_tar(pickle.dumps(value, 2)),
        lambda: legacy({"generator": torch.ones(1)})[:20] + raw,
        lambda: (
            b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})) + raw
        ),
        lambda: archive(b"\x80\x02(\x8c\x07storage" + raw[raw[0] == 0x80 and 2 :] + b"tQ.", rng),
    ]
    return rng.choice(makers)()


def broken(rng: random.Random) -> bytes:
    """One file that is no checkpoint, or was one."""
    good = saved({"generator": {"model.w": torch.randn(64), "model.v": torch.randn(3, 3)}}, rng)
    cut = rng.randrange(1, len(good))
    makers: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: good[:cut],
        lambda: good[cut:],
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n",
        lambda: b"<!DOCTYPE html><html>Access denied</html>",
        lambda: rng.randbytes(rng.randrange(4000)),
        lambda: archive(b"", rng),
        lambda: archive(b"\x80\x02]q\x00.", rng),
        lambda: b"PK\x03\x04" + rng.randbytes(200),
        lambda: pickle.dumps(rng.choice([None, 3, "text", [1, 2], {"generator": {"w": 1.5}}, {"generator": []}])),
    ]
    return rng.choice(makers)()


def lies(rng: random.Random) -> bytes:
    """A checkpoint whose tensor claims what its storage does not hold: sizes, strides, offsets, types."""
    huge = rng.choice([10**6, 2**31, 2**62])
    storage = ("storage", torch.FloatStorage, "0", "cpu", rng.choice([4, huge]))

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: Any) -> Any:
            return storage if one == "STORAGE" else None

    shape = rng.choice([(huge,), (4, huge), (-4,), (4,)])
    stride = rng.choice([(0,) * len(shape), (1,) * len(shape), (-1,) * len(shape), (huge,) * len(shape)])
    offset = rng.choice([0, 1, huge, -1])
    tensor = Bomb(torch._utils._rebuild_tensor_v2, "STORAGE", offset, shape, stride, False, OrderedDict())
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"generator": {"w": tensor}})
    return archive(buffer.getvalue(), rng, {"data/0": rng.randbytes(rng.choice([0, 8, 16]))})


def opened(data: bytes, folder: Path) -> str | None:
    """The refusal, or None if weights came out."""
    path = folder / "p.pt"
    path.write_bytes(data)
    try:
        state = published_state(path, ("generator",))
    except WeightsError as error:
        return str(error)
    for value in state.values():
        value.clone()
    return None


def test_no_hostile_file_runs_or_gives_weights(canary: Path, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for i in range(FILES):
        refusal = opened(hostile(rng, canary), tmp_path)
        assert refusal is not None, f"file {i} of seed {SEED} gave weights"
        assert refusal.startswith(f"{tmp_path / 'p.pt'}: "), refusal
        assert "\n" not in refusal
        assert not canary.exists(), f"file {i} of seed {SEED} ran"


@pytest.mark.parametrize("name", [*bombs(Path("/nowhere/canary")), *opcodes(Path("/nowhere/canary"))])
def test_the_bombs_are_armed(name: str, canary: Path, tmp_path: Path) -> None:
    data = opcodes(canary).get(name) or pickle.dumps(bombs(canary)[name], 2)
    assert opened(data, tmp_path)
    assert not canary.exists()
    with suppress(Exception):
        pickle.loads(data)
    assert canary.exists()


def test_no_broken_file_gives_weights(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for i in range(200):
        refusal = opened(broken(rng), tmp_path)
        assert refusal is not None, f"file {i} of seed {SEED} gave weights"
        assert "\n" not in refusal


def test_no_tensor_reaches_beyond_its_storage(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        opened(lies(rng), tmp_path)  # refused, or so honest that its numbers can be copied


def test_a_flipped_bit_never_runs_anything(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        data = bytearray(saved({"generator": {"model.w": torch.randn(8)}}, rng))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        opened(bytes(data), tmp_path)


def test_the_refusal_says_what_was_asked_for(tmp_path: Path) -> None:
    refusal = opened(opcodes(tmp_path / "canary")["GLOBAL REDUCE"], tmp_path)
    assert refusal is not None
    assert refusal.endswith("p.pt: asks for os.system; only tensors are read from a pickle, use another file")
