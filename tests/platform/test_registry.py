"""The registry: one name, one part; an import error is seen; a miss is helped."""

import pickle
import sys
from pathlib import Path

import pytest

from longtake.platform import errors
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.registry import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tier"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from longtake.platform.registry import Registry\nparts = Registry('part', 'tier')"
    )
    (folder / "first.py").write_text("from tier import parts\n@parts.register('native')\nclass Native: pass\n")
    (folder / "second.py").write_text("from tier import parts\n@parts.register('rag')\nclass Rag: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder  # type: ignore[misc]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tier"]:
        del sys.modules[name]


def parts() -> Registry[type]:
    import tier  # type: ignore[import-not-found]

    return tier.parts  # type: ignore[no-any-return]


def test_modules_are_found_at_the_first_look(package: Path) -> None:
    registry = parts()
    assert "tier.first" not in sys.modules
    assert registry.names() == ["native", "rag"]
    assert registry.get("rag").__name__ == "Rag"


def test_a_subpackage_holds_no_parts(package: Path) -> None:
    (package / "shared").mkdir()
    (package / "shared" / "__init__.py").write_text("raise AssertionError('imported as a part')")
    assert parts().names() == ["native", "rag"]


def test_a_miss_names_the_near_one_and_all(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"^unknown part 'nativ'; did you mean 'native'\? known: native, rag$"):
        parts().get("nativ")


def test_a_name_taken_twice_is_an_error(package: Path) -> None:
    (package / "third.py").write_text("from tier import parts\n@parts.register('rag')\nclass Other: pass\n")
    with pytest.raises(ValueError, match=r"part 'rag' is registered twice: tier\.second\.Rag and tier\.third\.Other"):
        parts().names()


def test_an_import_error_is_never_swallowed(package: Path) -> None:
    (package / "third.py").write_text("import a_library_that_is_missing\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
            parts().get("native")


def test_every_error_pickles_with_its_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LongtakeError)]
    assert len(kinds) > 8
    for kind in kinds:
        error = pickle.loads(pickle.dumps(kind("sweep.yaml: a rule")))
        assert (type(error), str(error), error.exit_code) == (kind, "sweep.yaml: a rule", kind.exit_code)
