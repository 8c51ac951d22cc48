"""Which engine of a bundle is taken, and what is said of it."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.bundle import file_record, open_bundle
from edgeseg.engines import (
    EngineOptions,
    EngineRecord,
    Precision,
    Target,
    engine_path,
    machine_family,
    write_engine_record,
)
from edgeseg.errors import ArtifactError
from edgeseg.runtime import selection as module
from edgeseg.runtime.machine import Host, int8_instructions
from edgeseg.runtime.model import load
from edgeseg.runtime.selection import computable

from .fake_bundle import SCORES, make_bundle, write_graph

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnxruntime")

FP32, INT8 = (Target.ONNXRUNTIME, Precision.FP32), (Target.ONNXRUNTIME, Precision.INT8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose 8-bit engine finds only the two best of what the FP32 graph finds."""
    folder = make_bundle(tmp_path / "bundle")
    bundle = open_bundle(folder)
    path = engine_path(folder, Target.ONNXRUNTIME, Precision.INT8)
    path.parent.mkdir()
    write_graph(path, bundle.spec, fails_above=0.65)
    built_for(folder, machine_family(platform.machine()))
    return folder


@pytest.fixture(autouse=True)
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "int8_instructions", lambda host: ("avx512_vnni",))


def built_for(folder: Path, machine: str) -> None:
    path = engine_path(folder, Target.ONNXRUNTIME, Precision.INT8)
    record = EngineRecord(
        backend=Target.ONNXRUNTIME,
        backend_version="1.31.1",
        precision=Precision.INT8,
        options=EngineOptions(machine=machine),
        file=file_record(path),
        graph_sha256=open_bundle(folder).files["portable.onnx"].sha256,
        build_s=0.1,
    )
    write_engine_record(path, record)


def frame() -> np.ndarray:
    return np.zeros((64, 96, 3), np.uint8)


def runs_the_engine(model) -> bool:
    """The engine of the fixture breaks off above 0.65, and the FP32 graph does not."""
    try:
        model(frame(), 0.8)
    except ArtifactError:
        return True
    return False


def test_auto_takes_the_engine_that_was_built(folder: Path) -> None:
    with load(folder) as model:
        assert runs_the_engine(model)
        assert model.description.endswith("on CPU, INT8")


def test_fp32_is_taken_where_asked_for(folder: Path) -> None:
    with load(folder, precision="fp32") as model:
        assert not runs_the_engine(model)
        assert model.description.endswith("on CPU, FP32")


def test_without_an_engine_auto_takes_the_graph(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "plain")

    assert computable(open_bundle(folder)) == (FP32,)
    with load(folder) as model:
        assert model.description.endswith("on CPU, FP32")
        assert len(model(frame(), 0.0)) == len(SCORES)


def test_the_bundle_names_what_it_has(folder: Path) -> None:
    assert computable(open_bundle(folder)) == (FP32, INT8)


def test_an_engine_that_was_not_built_names_the_command(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "plain")

    with pytest.raises(ArtifactError, match="build it with `edgeseg build-engine --int8"):
        load(folder, precision="int8")


def test_auto_says_why_the_engine_does_not_fit(folder: Path) -> None:
    built_for(folder, "s390x")

    with load(folder) as model:
        assert not runs_the_engine(model)
        assert "on CPU, FP32, as " in model.description
        assert "s390x" in model.description


def test_int8_by_name_is_not_replaced(folder: Path) -> None:
    built_for(folder, "s390x")

    with pytest.raises(ArtifactError, match="another machine"):
        load(folder, precision="int8")


@pytest.mark.skipif(machine_family(platform.machine()) != "x86_64", reason="of x86 processors")
def test_a_processor_that_would_overflow_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "int8_instructions", lambda host: ())

    with pytest.raises(ArtifactError, match=r"AVX-512 VNNI or AVX-VNNI, and this one has neither.*fp32"):
        load(folder, precision="int8")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fma avx2", ()),
        ("avx2 avx_vnni", ("avx_vnni",)),
        ("avx_vnni amx_int8", ("amx_int8", "avx_vnni")),
    ],
)
def test_instructions_are_read_fastest_first(tmp_path: Path, flags: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")

    assert int8_instructions(replace(Host(), root=tmp_path)) == expected
