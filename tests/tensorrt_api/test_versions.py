"""Every call of the package to TensorRT, checked against the API of the versions that it is to work with.

mypy reads the package once for each version, with stubs that were generated from that version's own Python
module. That tells whether names and signatures exist, not what they do.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .bindings import GENERATOR, ROOT, fetched, mended, run, stand_in_libraries, write_stubs

OLDEST, LAST_10, NEWEST, RTX = "10.3.0", "10.16.1.11", "11.4.0.106", "for RTX"
WHEELS = {
    OLDEST: "tensorrt-cu12-bindings",
    LAST_10: "tensorrt-cu12-bindings",
    NEWEST: "tensorrt-cu13-bindings",
}
VERSIONS = (*WHEELS, RTX)
LOAD_RTX = """
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, load_library
load_library(TensorRTKind.RTX, purpose="read its API")
"""
SAME_AS_RTX = "from tensorrt_rtx_bindings import *\n__version__: str\n"
ERROR = re.compile(r"^(?P<place>\S+?):\d+: error: (?P<message>.*)$", re.MULTILINE)

# What a version does not have and is not asked for: a condition stands before it.
GUARDED = {
    OLDEST: {
        # There is a runtime configuration with TensorRT for RTX only.
        (
            "edgeseg/runtime/backends/tensorrt/session.py",
            'Unexpected keyword argument "runtime_config" for "create_execution_context" of "ICudaEngine"'
            "  [call-arg]",
        )
    },
}

PROGRAM = """
import tensorrt as trt

def call(
    config: trt.IBuilderConfig, engine: trt.ICudaEngine, cache: trt.ITimingCache, memory: trt.IHostMemory
) -> None:
    {line}
"""
ABSENT_IN = {
    "config.set_flag(trt.BuilderFlag.FP16)": {NEWEST, RTX},
    "config.int8_calibrator": {NEWEST, RTX},
    "trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": {OLDEST},
    "engine.create_runtime_config()": {OLDEST},
    "trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE": {OLDEST, LAST_10, NEWEST},
    "config.set_timing_cache(cache)": set(VERSIONS),
    "config.set_timing_cache(cache, ignore_mismatch=False)": set(),
    "bytes(memory)": set(),
}


@dataclass(frozen=True)
class Checker:
    """mypy with one folder of stubs for each version, and one cache for all."""

    folder: Path

    def install(self, version: str, stubs: str) -> None:
        """Put the stubs of a version where `errors` looks for them."""
        modules = {"tensorrt": stubs}
        if version == RTX:
            # Under its own name, which the package uses for what it alone has, and under the shared one.
            modules = {"tensorrt_rtx_bindings": stubs, "tensorrt": SAME_AS_RTX}
        for name, text in modules.items():
            package = self.folder / version / name
            package.mkdir(parents=True)
            (package / "__init__.pyi").write_text(text, "utf-8")

    def errors(self, version: str, *arguments: str | Path) -> set[tuple[str, str]]:
        """Give the file and the message of each error."""
        command = (sys.executable, "-m", "mypy", "--cache-dir", self.folder / "cache", *arguments)
        done = run(*command, MYPYPATH=str(self.folder / version))
        # 2 is for a mypy that could not work at all.
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return {(found["place"], found["message"]) for found in ERROR.finditer(done.stdout)}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tmp_path_factory.mktemp("generator"), GENERATOR)


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    return Checker(tmp_path_factory.mktemp("checker"))


@pytest.fixture(scope="module", params=VERSIONS)
def version(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    generator: Path,
    checker: Checker,
) -> str:
    """A version whose stubs are where `checker` looks for them."""
    folder = tmp_path_factory.mktemp("bindings")
    name: str = request.param
    if name == RTX:
        if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
            pytest.skip("TensorRT for RTX has wheels for Linux on x86-64 only")
        stubs = write_stubs(
            "tensorrt_rtx_bindings.tensorrt_rtx", folder, preparation=LOAD_RTX, PYTHONPATH=str(generator)
        )
    else:
        libraries = stand_in_libraries(folder, name.split(".")[0])
        wheel = fetched(folder, f"{WHEELS[name]}=={name}")
        stubs = write_stubs(
            "tensorrt_bindings.tensorrt",
            folder / "stubs",
            LD_LIBRARY_PATH=str(libraries),
            PYTHONPATH=f"{generator}:{wheel}",
        )
    checker.install(name, stubs)
    return name


@pytest.mark.slow
def test_the_package(version: str, checker: Checker) -> None:
    """Fails also where a difference that is listed above is gone."""
    assert checker.errors(version) == GUARDED.get(version, set())


@pytest.mark.slow
def test_lines_that_some_versions_lack(version: str, checker: Checker, tmp_path: Path) -> None:
    programs = {tmp_path / f"line_{index}.py": line for index, line in enumerate(ABSENT_IN)}
    for program, line in programs.items():
        program.write_text(PROGRAM.format(line=line), "utf-8")

    found = checker.errors(version, *programs)

    refused = {programs[tmp_path / Path(place).name] for place, _ in found}
    assert refused == {line for line, versions in ABSENT_IN.items() if version in versions}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after", "absent_in"),
    [
        ("builder/tensorrt.py", "BuilderFlag.VERSION_COMPATIBLE", "BuilderFlag.FP16", {NEWEST, RTX}),
        (
            "builder/tensorrt.py",
            "builder.create_network(",
            "builder.create_network(2, ",
            set(VERSIONS),
        ),
        ("runtime/backends/tensorrt/execution.py", "execute_async_v3", "execute_async_v2", set(VERSIONS)),
    ],
)
def test_the_package_with_a_mistake(
    version: str, checker: Checker, tmp_path: Path, name: str, before: str, after: str, absent_in: set[str]
) -> None:
    """What the package calls is not `Any`, for which everything exists."""
    file = f"edgeseg/{name}"
    text = (ROOT / file).read_text("utf-8")
    assert before in text
    mistaken = tmp_path / "mistaken.py"
    # Of another length: one of the same passes for the file that mypy has in its cache.
    mistaken.write_text(text.replace(before, after) + "\n# mistaken\n", "utf-8")

    found = checker.errors(version, "--shadow-file", file, mistaken, file)

    assert any(place == file for place, _ in found) == (version in absent_in)


def test_stubs_are_mended() -> None:
    text = mended(
        "class A:\n"
        "    def f(self, in: list[int], shift: B = None, axis: dict[str, typing.SupportsInt]) -> bool:\n"
        "        ...\n"
    )

    assert "(self, in_: list[int], shift: B = None, axis: dict[str, int] = ...) -> builtins.bool:" in text


def test_what_cannot_be_mended_is_an_error() -> None:
    with pytest.raises(SyntaxError):
        mended("class A:\n    def f(self, x: <unknown>) -> int: ...\n")
