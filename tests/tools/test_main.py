from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

import edgeseg
from edgeseg import errors
from edgeseg.tools import main as module
from edgeseg.tools.main import VERBS, cli
from edgeseg.tools.reference import command_reference, help_page

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
RAISED: list[BaseException] = []


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `edgeseg fail`, a verb that raises what it is told to."""

    @click.command()
    @click.option("--where")
    def fail(where: str | None) -> None:
        raise RAISED.pop()

    monkeypatch.setattr(module, "VERBS", {**VERBS, "fail": ("fail", "fail", "Fail.")})
    lookup = module.VerbGroup.get_command
    monkeypatch.setattr(
        module.VerbGroup,
        "get_command",
        lambda group, ctx, name: fail if name == "fail" else lookup(group, ctx, name),
    )

    def call(exc: BaseException, *args: str) -> Result:
        RAISED[:] = [exc]
        return CliRunner().invoke(cli, [*args, "fail"])

    return call


@pytest.mark.parametrize(
    "kind", [errors.ConfigError, errors.DependencyError, errors.InputError, errors.BuildError]
)
def test_an_error_of_ours_is_one_sentence(
    outcome: Callable[..., Result], kind: type[errors.EdgeSegError]
) -> None:
    result = outcome(kind("the image is empty; take another"))

    assert result.exit_code == 1
    assert result.stderr == "error: the image is empty; take another\n"
    assert result.stdout == ""


def test_a_verdict_exits_with_3(outcome: Callable[..., Result]) -> None:
    assert outcome(errors.ParityError("boxes differ")).exit_code == 3


def test_interruption_exits_with_130(outcome: Callable[..., Result]) -> None:
    result = outcome(KeyboardInterrupt())

    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1
    assert "interrupted" in result.stderr


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_an_error_of_the_system_names_path_and_remedy(
    outcome: Callable[..., Result], number: int, words: str
) -> None:
    result = outcome(OSError(number, os.strerror(number), "out/video.mp4"))

    assert result.exit_code == 1
    assert result.stderr.startswith("error: out/video.mp4: ")
    assert words in result.stderr
    assert ";" in result.stderr
    assert result.stderr.count("\n") == 1


def test_out_of_memory(outcome: Callable[..., Result]) -> None:
    assert "out of memory" in outcome(MemoryError()).stderr


@pytest.mark.parametrize("exc", [RuntimeError("first line\nsecond line"), ValueError(), OSError("odd")])
def test_anything_else_asks_to_be_run_again(outcome: Callable[..., Result], exc: Exception) -> None:
    result = outcome(exc)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: unexpected {type(exc).__name__}")
    assert result.stderr.endswith("run: edgeseg --debug fail\n")
    assert "second line" not in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback_and_keeps_the_exit_code(outcome: Callable[..., Result]) -> None:
    result = outcome(errors.ParityError("boxes differ"), "--debug")

    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: boxes differ\n")


def test_the_advice_repeats_the_command_line(outcome: Callable[..., Result]) -> None:
    RAISED[:] = [RuntimeError("odd")]

    result = CliRunner().invoke(cli, ["fail", "--where", "my photos"])

    assert result.stderr.endswith("run: edgeseg --debug fail --where 'my photos'\n")


def test_a_closed_pipe_is_silent() -> None:
    script = "from edgeseg.tools.main import main; main()"
    command = f"{sys.executable} -c {shlex.quote(script)} doctor --json | true; echo ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert done.stderr == ""


@pytest.mark.parametrize("args", [["no-such-verb"], ["doctor", "--no-such-option"], ["--no-such-option"]])
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    result = CliRunner().invoke(cli, args)

    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"edgeseg {edgeseg.__version__}\n"


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join
)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    script = (
        "import sys\n"
        "from edgeseg.tools.main import cli\n"
        "try:\n cli(sys.argv[1:])\n"
        "finally:\n print({'torch', 'numpy', 'cv2', 'rich', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("set()\n")


def command_of(verb: str) -> click.Command:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command


@pytest.mark.parametrize("verb", list(VERBS))
def test_one_line_help_is_the_verbs_own(verb: str) -> None:
    assert command_of(verb).get_short_help_str(limit=1000) == VERBS[verb][2]


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_ends_with_an_example_that_parses(verb: str) -> None:
    example = help_page(verb).splitlines()[-1].strip()
    assert example.startswith(f"edgeseg {verb}"), f"the help must end with an example, ends with {example!r}"

    # Parsing refuses an option that does not exist or a value of the wrong type; files need not be there.
    command_of(verb).make_context(verb, shlex.split(example)[2:])


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_option_is_described(verb: str) -> None:
    options = [option for option in command_of(verb).params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_help_of_a_verb_that_is_not_there() -> None:
    with pytest.raises(errors.ConfigError, match="got 'fly'"):
        help_page("fly")


def test_the_reference_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "commands.md").read_text("utf-8")

    assert written == command_reference(), "run `make docs`"


def test_the_readme_names_every_verb() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert [name for name in VERBS if f"edgeseg {name}" not in readme] == []


@pytest.mark.parametrize("module", ["cv2", "numpy", "rich", "PIL", "tenacity"])
def test_a_package_that_fits_no_other_is_named_with_its_upgrade(tmp_path: Path, module: str) -> None:
    done = run_beside(tmp_path, f"{module}.py", "raise AttributeError('_ARRAY_API not found')")

    assert done.returncode == 1
    assert re.search(rf"^error: {module}\S* is needed .*pip install --upgrade", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def run_beside(folder: Path, name: str, content: str) -> subprocess.CompletedProcess[str]:
    """Call `edgeseg run` where a module hides the real one."""
    (folder / name).write_text(content, "utf-8")
    program = "from edgeseg.tools.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "run", "--source", "x"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        cwd=folder,
    )
