"""What may import what, read from the sources; and what really happens on import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgeseg

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(edgeseg.__file__).parent
# A part imports only from itself and from parts before it.
PARTS = ("", "runtime", "calibration", "exporter", "benchmark", "demo", "tools")
NOT_ON_THE_DEVICE = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "safetensors")
SOURCES = sorted(PACKAGE.rglob("*.py"))

BLOCKED_IMPORT = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
import edgeseg.runtime
for module in pkgutil.walk_packages(edgeseg.runtime.__path__, "edgeseg.runtime."):
    importlib.import_module(module.name)
from edgeseg import load, Model, Detections
"""


def part_of(dotted: str) -> str:
    """Name the part that a module of the package belongs to; modules at the root are part ''."""
    pieces = dotted.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] in PARTS else ""


def module_name(path: Path) -> str:
    pieces = ("edgeseg", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def imports(source: str, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """List the line and absolute name of every import, in functions too."""
    base = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) - node.level + 1] if node.level else []
            stem = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import x` names a module, `from .x import y` usually something within it.
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def upward(source: str, module: str, *, package: bool = False) -> list[str]:
    here = PARTS.index(part_of(module))
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(source, module, package=package)
        if name.split(".")[0] == "edgeseg" and PARTS.index(part_of(name)) > here
    ]


def lazy_facade(path: Path) -> bool:
    # `edgeseg/__init__.py` hands out the runtime's `load` and the exporter's `save_checkpoint` at first use,
    # and only it may.
    return path == PACKAGE / "__init__.py"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_import_goes_up(path: Path) -> None:
    found = upward(path.read_text("utf-8"), module_name(path), package=path.name == "__init__.py")

    if lazy_facade(path):
        allowed = ("imports edgeseg.runtime.", "imports edgeseg.exporter.save.")
        found = [line for line in found if not any(name in line for name in allowed)]
    assert found == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from edgeseg.exporter.graph import write_graph", "edgeseg.runtime.model"),
        ("from ..exporter import graph", "edgeseg.runtime.model"),
        ("from .. import tools", "edgeseg.demo.belt"),
        ("def f():\n    import edgeseg.tools.main", "edgeseg.exporter.graph"),
        ("from .runtime import model", "edgeseg.bundle.manifest"),
        ("from ..demo.belt import x", "edgeseg.exporter.parity.check"),
    ],
)
def test_an_upward_import_is_seen(source: str, module: str) -> None:
    assert len(upward(source, module)) == 1


@pytest.mark.parametrize(
    "part", ["runtime", "calibration", "bundle.py", "spec.py", "record.py", "optional.py"]
)
def test_the_device_side_names_neither_torch_nor_onnx(part: str) -> None:
    paths = [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] == part]
    named = [
        f"{module_name(path)}:{line} imports {name}"
        for path in paths
        for line, name in imports(path.read_text("utf-8"), module_name(path), package=False)
        if name.partition(".")[0] in NOT_ON_THE_DEVICE
    ]

    assert paths
    assert named == []


def test_the_runtime_imports_where_torch_and_onnx_are_absent() -> None:
    script = BLOCKED_IMPORT.format(blocked=NOT_ON_THE_DEVICE)

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_import_edgeseg_is_light() -> None:
    script = (
        "import edgeseg, sys; print(*sorted({'numpy', 'cv2', 'torch', 'rich', 'click'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


# What keeps packages from reporting to their makers is a variable, which a user may have set.
MAY_READ_ENVIRONMENT = ("edgeseg.optional",)


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.parent.name != "tools" and module_name(p) not in MAY_READ_ENVIRONMENT],
    ids=module_name,
)
def test_no_environment_variable_is_read_outside_tools(path: Path) -> None:
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (getattr(node, "attr", None) or getattr(node, "id", None)) in ("environ", "getenv", "environb")
    ]

    assert reads == []


def test_unknown_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = edgeseg.laod
