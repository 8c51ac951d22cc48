"""What may import what, read from the sources; and what really happens on import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

import edgeseg
from tests.imports import (
    MAY_IMPORT_TORCH,
    MOST_MODULES,
    NOT_ON_THE_DEVICE,
    ON_THE_DEVICE,
    PARTS,
    TORCH,
    Module,
    circles,
    crowded,
    forbidden,
    modules,
    upward,
)

MODULES = modules()
NAMES = [module.name for module in MODULES]
# `edgeseg.save_checkpoint` is looked up in the package itself, which says what to install for it.
ASKED_BY_A_USER = re.compile(r"edgeseg:\d+ imports torchvision")
FILES = [module.name for module in MODULES if not module.is_package]

BLOCKED_IMPORT = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
for part in {parts!r}:
    package = importlib.import_module("edgeseg." + part if part else "edgeseg")
    prefix = package.__name__ + "."
    for module in (pkgutil.walk_packages if part else pkgutil.iter_modules)(package.__path__, prefix):
        if part or not module.ispkg:
            importlib.import_module(module.name)
from edgeseg import load, stream, Model, Detections, TrackConfig
"""


def test_the_parts_are_there() -> None:
    assert len(MODULES) > 300
    assert {module.part for module in MODULES} == set(PARTS)


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_no_import_goes_up(module: Module) -> None:
    found = upward(module)

    # `edgeseg/__init__.py` hands out what users need at first use, and only it may.
    if module.name == "edgeseg":
        allowed = ("runtime", "streaming", "vision", "exporter.save")
        found = [line for line in found if not any(f"imports edgeseg.{name}." in line for name in allowed)]
    assert found == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from edgeseg.exporter.graph import write_graph", "edgeseg.runtime.model"),
        ("from ..exporter import graph", "edgeseg.runtime.model"),
        ("from .. import tools", "edgeseg.demo.belt"),
        ("def f():\n    import edgeseg.tools.main", "edgeseg.exporter.graph"),
        ("from .runtime import model", "edgeseg.spec"),
        ("from edgeseg.demo.belt import x", "edgeseg.exporter.parity.check"),
        ("if TYPE_CHECKING:\n    from edgeseg.streaming.results import Scene", "edgeseg.vision.drawing"),
    ],
)
def test_an_upward_import_is_seen(source: str, name: str) -> None:
    assert len(upward(Module(name=name, source=source))) == 1


def test_no_modules_import_each_other() -> None:
    assert circles(MODULES) == []


def test_a_circle_is_seen() -> None:
    planted = (
        Module(name="edgeseg.a", source="from .b import x"),
        Module(name="edgeseg.b", source="def f():\n    from edgeseg.c import y"),
        Module(name="edgeseg.c", source="if TYPE_CHECKING:\n    from . import a"),
        Module(name="edgeseg.d", source="from .a import z"),
    )

    assert circles(planted) == [("edgeseg.a", "edgeseg.b", "edgeseg.c")]


def test_only_the_exporter_and_what_is_compared_with_load_torch() -> None:
    others = [module for module in MODULES if not module.name.startswith(MAY_IMPORT_TORCH)]
    found = [line for module in others for line in forbidden(module, TORCH)]

    assert [line for line in found if not ASKED_BY_A_USER.fullmatch(line)] == []


@pytest.mark.parametrize(
    "module", [module for module in MODULES if module.part in ON_THE_DEVICE], ids=lambda module: module.name
)
def test_the_device_side_names_neither_torch_nor_onnx(module: Module) -> None:
    found = forbidden(module, NOT_ON_THE_DEVICE)

    assert [line for line in found if not ASKED_BY_A_USER.fullmatch(line)] == []


def test_an_import_of_torch_is_seen() -> None:
    planted = Module(name="edgeseg.runtime.model", source="def f():\n    from torch.nn import Module")

    assert forbidden(planted, TORCH) == ["edgeseg.runtime.model:2 imports torch.nn.Module"]


def test_torch_through_the_door_is_seen() -> None:
    planted = Module(name="edgeseg.streaming.stream", source='def f():\n    require("torch", purpose="blur")')

    assert forbidden(planted, TORCH) == ["edgeseg.streaming.stream:2 imports torch"]


def test_the_device_side_imports_where_torch_and_onnx_are_absent() -> None:
    script = BLOCKED_IMPORT.format(blocked=NOT_ON_THE_DEVICE, parts=ON_THE_DEVICE)

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_no_folder_is_crowded() -> None:
    assert crowded(FILES) == {}


def test_a_crowded_folder_is_seen() -> None:
    planted = [f"edgeseg.vision.module{number}" for number in range(MOST_MODULES + 1)]

    assert crowded([*planted, "edgeseg.vision.images.pillow"]) == {"edgeseg.vision": MOST_MODULES + 1}


def test_import_edgeseg_is_light() -> None:
    script = (
        "import edgeseg, sys; print(*sorted({'numpy', 'cv2', 'torch', 'rich', 'click'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


# What keeps packages from reporting to their makers is a variable, which a user may have set.
MAY_READ_ENVIRONMENT = ("edgeseg.optional", "edgeseg.tools")


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if not module.name.startswith(MAY_READ_ENVIRONMENT)],
    ids=lambda module: module.name,
)
def test_no_environment_variable_is_read_outside_tools(module: Module) -> None:
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(module.source))
        if isinstance(node, ast.Attribute | ast.Name)
        and (getattr(node, "attr", None) or getattr(node, "id", None)) in ("environ", "getenv", "environb")
    ]

    assert reads == []


def test_unknown_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = edgeseg.laod
