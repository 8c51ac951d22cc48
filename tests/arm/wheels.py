"""Do the runtime's dependencies have wheels for aarch64, for the Pythons of JetPack 6 and 7?

    python tests/arm/wheels.py
    python tests/arm/wheels.py --with 'numpy<2' --without opencv-python-headless   # with the system's OpenCV

Lets pip resolve `project.dependencies` and the extra `cpu` of `pyproject.toml` for both Pythons, from wheels
only, and prints what it takes. Nothing is installed, and hardly more than metadata is downloaded; needs a
package index and Python 3.11 or newer. Exit code 1: a package has no wheel, and its name is printed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from edgeseg.tools.console import print_note, print_table

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRA = "cpu"
MANYLINUX = re.compile(r"manylinux_2_(\d+)_aarch64")
NOTHING_FITS = re.compile(r"No matching distribution found for ([\w.\-\[\]]+)")


class Target(NamedTuple):
    """What wheels are wanted for; the C library is glibc 2.`glibc_minor`."""

    python: str
    glibc_minor: int
    system: str


# Ubuntu 22.04 and 24.04, which JetPack is built on.
TARGETS = (Target("3.10", 35, "JetPack 6"), Target("3.12", 39, "JetPack 7"))


class NoWheelError(Exception):
    """A package without a wheel; its name is the message."""


@click.command()
@click.option("--with", "more", multiple=True, help="A further requirement, such as 'numpy<2'.")
@click.option("--without", multiple=True, help="A dependency to leave out.")
def main(more: tuple[str, ...], without: tuple[str, ...]) -> None:
    """Print the wheels that pip takes on aarch64."""
    left_out = {canonicalize_name(name) for name in without}
    wanted = [
        text
        for text in (*_dependencies(), *more)
        if canonicalize_name(Requirement(text).name) not in left_out
    ]
    found, missing = {}, []
    for target in TARGETS:
        found[target], lacking = _resolve_all(wanted, target)
        missing += [f"{name} for Python {target.python}" for name in lacking]
    names = sorted({name for wheels in found.values() for name in wheels})
    print_table(
        "Wheels for aarch64",
        (
            "package",
            *(f"Python {target.python}, glibc 2.{target.glibc_minor}, {target.system}" for target in TARGETS),
        ),
        [(name, *(found[target].get(name, "not needed") for target in TARGETS)) for name in names],
    )
    if missing:
        print_note(f"missing: {', '.join(missing)}")
        sys.exit(1)


def _dependencies() -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][EXTRA]]


def _resolve_all(wanted: list[str], target: Target) -> tuple[dict[str, str], list[str]]:
    """Resolve together; if that fails, one by one, so that every package without a wheel is named."""
    try:
        return _resolve(wanted, target), []
    except NoWheelError:
        found: dict[str, str] = {}
        missing = []
    for one in wanted:
        try:
            found |= _resolve([one], target)
        except NoWheelError as exc:
            missing.append(str(exc))
    return found, missing or ["a set that fits together"]


def _resolve(wanted: list[str], target: Target) -> dict[str, str]:
    """Name the wheels for some requirements and all that they require in turn.

    pip takes the markers of its own Python instead of the target's, so what they would add is added here.
    """
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "aarch64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{target.python}.0",
        "python_version": target.python,
        "sys_platform": "linux",
        "extra": "",
    }
    applied = [text for text in wanted if _applies(Requirement(text), environment)]
    while True:
        report = _pip(applied, target)
        here = {canonicalize_name(item["metadata"]["name"]) for item in report}
        needed = [
            Requirement(text) for item in report for text in item["metadata"].get("requires_dist") or ()
        ]
        absent = [
            one for one in needed if _applies(one, environment) and canonicalize_name(one.name) not in here
        ]
        if not absent:
            return dict(_cell(item) for item in report)
        for one in absent:
            one.marker = None
        applied += [str(one) for one in absent]


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def _cell(item: dict[str, Any]) -> tuple[str, str]:
    name, version, _, tags = parse_wheel_filename(
        item["download_info"]["url"].rsplit("/", 1)[-1].split("#")[0]
    )
    platforms = {tag.platform for tag in tags}
    if platforms == {"any"}:
        return name, f"{version} (pure Python)"
    # A wheel that carries several tags runs where the lowest of them is met; 2014 means glibc 2.17.
    needs = min(
        int(MANYLINUX.sub(r"\1", one.replace("manylinux2014", "manylinux_2_17"))) for one in platforms
    )
    return name, f"{version} (glibc 2.{needs})"


def _pip(requirements: list[str], target: Target) -> list[dict[str, Any]]:
    """Let pip resolve for a target.

    Raises:
        NoWheelError: Some package has no wheel that fits.
    """
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(17, target.glibc_minor + 1)]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"),
            *("--report", "-", "--target", folder, "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", target.python),
            *(f"--platform={name}" for name in ("manylinux2014_aarch64", *platforms)),
            *requirements,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing = NOTHING_FITS.search(done.stderr)
        if not missing and "conflict" not in done.stderr:
            sys.exit(f"pip failed:\n{done.stderr}")
        raise NoWheelError(missing[1] if missing else "a set that fits together")
    report: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return report


if __name__ == "__main__":
    main()
