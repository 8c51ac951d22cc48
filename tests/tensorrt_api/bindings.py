"""Type stubs from TensorRT's own Python module, without TensorRT.

The module is a wheel of 1 MB. It is linked with libraries of gigabytes, of which it needs nine functions to
be imported: stand-ins of a few lines give it those, and every class, method and signature in it can be read.
"""

from __future__ import annotations

import ast
import keyword
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATOR = "pybind11-stubgen==3.0.0"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
FUNCTION = re.compile(r"^(\s*def \w+\()(.*)(\) -> .*)$")
PARAMETER = re.compile(r", (?=\*{0,2}\w+:)")
# What stands before the stubs: their own mistakes, of which there are hundreds, are not the package's.
HEAD = "# mypy: ignore-errors\nimport builtins\n"
TAIL = "__version__: str\n"
# Of the buffer protocol, by which `bytes` reads such memory, the generator knows nothing.
BUFFER = "class IHostMemory:\n"
BUFFER_METHOD = "    def __buffer__(self, flags: int, /) -> memoryview: ...\n"


def stand_in_libraries(folder: Path, major: str) -> Path:
    """Compile what the module of a TensorRT of this major version loads; skips without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler: apt-get install gcc")
    libraries = folder / f"stand-ins-{major}"
    libraries.mkdir(exist_ok=True)
    source = Path(__file__).with_name("stub.c")
    for name in LIBRARIES:
        target = libraries / f"lib{name}.so.{major}"
        succeed(compiler, "-shared", "-fPIC", "-o", target, source, f"-Wl,-soname,{target.name}")
    return libraries


def fetched(folder: Path, requirement: str) -> Path:
    """Unpack a wheel into a folder of its own; skips where there is none for this machine."""
    target = folder / re.sub(r"\W+", "-", requirement)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:")
    done = run(*pip, "--disable-pip-version-check", "--target", target, requirement)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"pip does not get {requirement}: {' '.join(reasons)}")
    return target


def write_stubs(module: str, folder: Path, *, preparation: str = "", **environment: str) -> str:
    """Import a module in a process of its own and write what it has.

    Args:
        module: Its full name.
        folder: What the generator may write to.
        preparation: Python to run first.
        environment: Variables of that process, beside those of this one.

    Returns:
        The text of the stubs, as the parser accepts it.
    """
    script = f"import sys\n{preparation}\nfrom pybind11_stubgen import main\nsys.exit(main(sys.argv[1:]))"
    command = (sys.executable, "-c", script, "--ignore-all-errors", "-o", folder, module)
    succeed(*command, **environment)
    text = folder.joinpath(*module.split(".")).with_suffix(".pyi").read_text("utf-8")
    return mended(text)


def mended(stubs: str) -> str:
    """Correct what the generator copies from docstrings, though it is no Python or means something else."""
    text = "\n".join([HEAD, *map(_mended_line, stubs.splitlines()), TAIL])
    text = text.replace(BUFFER, BUFFER + BUFFER_METHOD, 1)
    ast.parse(text)
    return text


def _mended_line(line: str) -> str:
    found = FUNCTION.match(line)
    if found is None:
        return line
    parameters: list[str] = []
    for parameter in PARAMETER.split(found[2]):
        name, colon, rest = parameter.partition(":")
        whole = f"{name}_{colon}{rest}" if colon and keyword.iskeyword(name) else parameter
        # What follows a default has one.
        is_late = bool(parameters) and " = " in parameters[-1]
        parameters.append(f"{whole} = ..." if is_late and " = " not in whole and whole[0] != "*" else whole)
    whole = found[1] + ", ".join(parameters) + found[3]
    # `bool` alone would be TensorRT's data type of that name; and a callback, whose parameters are described
    # like those of any method, gets an int.
    return re.sub(r"(?<![\w.])bool\b", "builtins.bool", whole).replace("typing.SupportsInt", "int")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program from the folder that holds the package."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def succeed(*command: str | Path, **environment: str) -> None:
    """Run a program that must not fail."""
    done = run(*command, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
