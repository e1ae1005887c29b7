"""Guards of the layout: what would break quietly if someone tidied it up."""

import ast
import copy
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from longtake.platform.store.root import RESERVED

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("platform", "trainers", "evaluators", "jobs", "dashboards")
# Heavy library -> the one file (or the files that begin so) that imports it, and only when used.
ONE_IMPORTER = {
    "ray": "platform/workers/ray_",
    "mlflow": "platform/tracking/",
    "deepspeed": "trainers/embedder.py",
    "transformers": "platform/models/text/encoder.py",
    "diffusers": "platform/models/vae/wan.py",
    "huggingface_hub": "platform/weights/hub.py",
    "flash_attn": "platform/models/attention.py",
    "matplotlib": "dashboards/embedder_figures.py",
    "fastapi": "dashboards/app.py",
    "uvicorn": "dashboards/server.py",
    "plotly": "dashboards/app.py",
    "timm": "evaluators/models/vit.py",
    "open_clip": "evaluators/models/clip.py",
    "torchvision": "evaluators/models/raft.py",
    "pyiqa": "evaluators/models/bare.py",  # by name, file by file
    "vbench": "evaluators/models/bare.py",
}
NOT_FOR_HELP = {"torch", "triton", "cv2", "av", "omegaconf", "pandas", "pyarrow", *ONE_IMPORTER}
NOT_FOR_PLAN = NOT_FOR_HELP - {"cv2", "omegaconf"}


@cache
def sources() -> dict[str, ast.Module]:
    """File name -> its syntax tree."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imports(tree: ast.AST) -> set[str]:
    """First parts of all modules imported anywhere in the tree."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def without_functions(tree: ast.Module) -> ast.Module:
    """The tree as it runs at import time: no function bodies, nothing under `if TYPE_CHECKING`."""

    class Pruner(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    return ast.fix_missing_locations(Pruner().visit(copy.deepcopy(tree)))  # type: ignore[no-any-return]


@cache
def imported() -> dict[str, tuple[set[str], set[str]]]:
    """File name -> what it imports anywhere, and what it imports when it is loaded."""
    return {name: (imports(tree), imports(without_functions(tree))) for name, tree in sources().items()}


def test_platform_has_no_init_so_that_python_keeps_its_own() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.__file__, platform.system())"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert str(ROOT / "platform") not in out


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_a_heavy_library_has_one_importer_and_is_imported_when_used(library: str) -> None:
    for name, (anywhere, at_import) in imported().items():
        if library in anywhere:
            assert name.startswith(ONE_IMPORTER[library]), f"{name} imports {library}; only {ONE_IMPORTER[library]} may"
        assert library not in at_import, f"{name} imports {library} when it is loaded; import it inside the function"


def test_triton_is_imported_by_kernels_alone_and_kernels_when_used() -> None:
    """A kernel is decorated when its module is loaded, so its file imports Triton at the top, and callers import that
    file inside functions."""
    for name, tree in sources().items():
        in_kernels = name.startswith("platform/kernels/")
        assert in_kernels or "triton" not in imports(tree), f"{name} imports triton; only platform/kernels/ may"
        for node in ast.walk(without_functions(tree)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("longtake.platform.kernels."):
                assert in_kernels, f"{name} imports {node.module} when it is loaded; import it inside the function"


METHOD_LINES = 120


def registers_a_method(tree: ast.AST) -> bool:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return "methods.register" in {ast.unparse(function) for function in calls}


def test_a_newcomer_sees_methods() -> None:
    """In platform/methods every file but base.py registers a method and is short; no file below it registers one."""
    assert registers_a_method(ast.parse("@methods.register('x')\nclass X: pass"))
    for name, tree in sources().items():
        folder, _, file = name.rpartition("/")
        if not name.startswith("platform/methods/") or file == "__init__.py":
            continue
        here = folder == "platform/methods" and file != "base.py"
        where = "a file of platform/methods must, and one of its parts must not"
        assert registers_a_method(tree) == here, f"{name}: registers a method, or not: {where}"
        lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
        assert not here or lines <= METHOD_LINES, (
            f"{name}: {lines} lines; at most {METHOD_LINES}: move a rule to parts/"
        )


STORE = ("platform/store/", "platform/corpus/")
STORED_FILES = {
    *("sweep.yaml", "plan.jsonl", "table.parquet", "ranks.json", "history.jsonl", "progress.json", "contact_sheet.png"),
    *("video.mp4", "trace.jsonl", "result.json", "attempts.log", "failures.jsonl", "events.jsonl"),
    *("config.yaml", "steps.jsonl", "validation.jsonl", "weights.safetensors", "eval.json"),
    *("corpus.yaml", "index.jsonl", "mlflow.db", "mlartifacts", ".epoch"),
}
STORED_FOLDERS = {*RESERVED, "takes", "shards", "checkpoints", "best"}


def stored_names(tree: ast.AST) -> set[str]:
    """Names of a store's files, and those of its folders that are joined to a path; folders of the package are none."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in STORED_FILES:
            found.add(node.value)
        joined = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant)
        if joined and node.right.value in STORED_FOLDERS and "__file__" not in ast.unparse(node.left):
            found.add(node.right.value)
    return found


def test_names_in_a_store_are_spelled_in_the_store() -> None:
    planted = "a = root / 'x' / 'takes'; b = f(root, 'ranks.json'); c = {'takes': 1}; d = Path(__file__) / 'corpora'"
    assert stored_names(ast.parse(planted)) == {"takes", "ranks.json"}
    for name, tree in sources().items():
        assert name.startswith(STORE) or not stored_names(tree), f"{name} spells {stored_names(tree)}; ask the store"


def run_and_list_modules(*words: str) -> tuple[str, set[str]]:
    """What `longtake WORDS` prints in a process of its own, and the names of all modules that it has loaded."""
    code = (
        f"import sys\nfrom longtake.jobs.cli import main\nsys.argv = {['longtake', *words]!r}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', *sys.modules)"
    )
    env = {**os.environ, "COLUMNS": "120"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    text, _, loaded = out.rpartition("LOADED")
    return text, set(loaded.split())


def test_help_is_light() -> None:
    text, loaded = run_and_list_modules("--help")
    assert "Usage" in text
    assert NOT_FOR_HELP & loaded == set()


def test_plan_is_light(tmp_path: Path) -> None:
    text, loaded = run_and_list_modules("plan", str(ROOT / "jobs/sweeps/demo.yaml"), f"output={tmp_path}")
    assert "to do: make 128 takes" in text
    assert NOT_FOR_PLAN & loaded == set()


def test_a_skip_that_hides_a_missing_library_fails_continuous_integration(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    case = '<testsuite><testcase classname="a" name="b"><skipped message="{}"/></testcase></testsuite>'
    check = [sys.executable, str(ROOT / ".ci" / "check_skips.py"), str(report)]
    report.write_text(case.format("Skipped: shared folder absent"))
    assert subprocess.run(check, check=False).returncode == 0
    report.write_text(case.format("could not import 'av'"))
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a.b: could not import 'av'" in done.stdout
