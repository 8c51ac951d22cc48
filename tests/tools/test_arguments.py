"""Passwords and tokens of a command line: in no message, and how they stay out of it altogether."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edgeseg.errors import ConfigError
from edgeseg.streaming import runner
from edgeseg.tools.arguments import (
    expand_variables,
    redacted_arguments,
    secrets_in_arguments,
    token_from_file,
)
from edgeseg.tools.main import cli

if TYPE_CHECKING:
    from edgeseg.streaming.config import RunCallbacks, RunConfig

SOURCE = "rtsp://admin:Zq7pass@cam/live"


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["run", "--source", SOURCE], ["run", "--source", "rtsp://***@cam/live"]),
        (["run", f"--source={SOURCE}"], ["run", "--source=rtsp://***@cam/live"]),
        (["run", "--web-token", "Zq7token", "--web"], ["run", "--web-token", "***", "--web"]),
        (["run", "--web-token=Zq7token"], ["run", "--web-token=***"]),
        (["run", "--web-token", "--web"], ["run", "--web-token", "--web"]),
        (["run", "--web-token-file", "token.txt"], ["run", "--web-token-file", "token.txt"]),
        (["run", SOURCE], ["run", "rtsp://***@cam/live"]),
        (["run", "--source", "photos/", "-o", "out"], ["run", "--source", "photos/", "-o", "out"]),
    ],
)
def test_arguments(args: list[str], shown: list[str]) -> None:
    assert redacted_arguments(args) == shown
    assert bool(secrets_in_arguments(args)) == (args != shown)


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
@pytest.mark.parametrize(
    "args",
    [
        ["--source", SOURCE, "--web-token", "Zq7token"],
        [f"--source={SOURCE}", "--web-token=Zq7token"],
        ["--source", "rtspsrc location=rtsp://c user-pw=Zq7pw ! x"],
        ["--source", "x", SOURCE],
        ["--camera", SOURCE],
        ["--sauce", SOURCE],
    ],
)
def test_no_message_repeats_them(monkeypatch: pytest.MonkeyPatch, args: list[str], debug: list[str]) -> None:
    def fail(config: RunConfig, observer: RunCallbacks) -> None:
        source = config.source.sources[0]
        observer.note(f"lost {source}")
        observer.progress(f"lost {source}")
        msg = f"cannot do {source} with {config.display.web_token}"
        raise RuntimeError(msg)

    monkeypatch.setattr(runner, "run", fail)
    result = CliRunner().invoke(cli, [*debug, "run", *args])

    assert result.exit_code in (1, 2)
    assert "Zq7" not in result.output + result.stderr + result.stdout
    if result.exit_code == 1:
        assert "to see where, run (with what *** stands for): edgeseg --debug run" in result.stderr


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("rtsp://admin:${ZQ_PASSWORD}@cam/x", "rtsp://admin:a%20%2Fb%40%22@cam/x"),
        ("${ZQ_SOURCE}", "rtsp://u:p@cam"),
        ("rtspsrc location=rtsp://c user-pw=${ZQ_PLAIN} ! x", "rtspsrc location=rtsp://c user-pw=plain ! x"),
        ("photos/${ZQ_PASSWORD}.png", "photos/${ZQ_PASSWORD}.png"),
        ("rtsp://cam/$ZQ_PASSWORD", "rtsp://cam/$ZQ_PASSWORD"),
    ],
)
def test_sources_take_secrets_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, source: str, wanted: str
) -> None:
    monkeypatch.setenv("ZQ_PASSWORD", 'a /b@"')
    monkeypatch.setenv("ZQ_PLAIN", "plain")
    monkeypatch.setenv("ZQ_SOURCE", "rtsp://u:p@cam")

    assert expand_variables(source) == wanted


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZQ_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="wants the variable ZQ_PASSWORD of the environment"):
        expand_variables("rtsp://u:${ZQ_PASSWORD}@cam")


def test_a_token_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  Zq7 tökén\n", "utf-8")
    configs: list[RunConfig] = []

    def fail(config: RunConfig, observer: RunCallbacks) -> None:
        configs.append(config)
        msg = "nothing is run"
        raise RuntimeError(msg)

    monkeypatch.setattr(runner, "run", fail)
    CliRunner().invoke(cli, ["run", "--source", "x", "--web-token-file", str(path)])

    assert token_from_file(path) == configs[0].display.web_token == "Zq7 tökén"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a\nb\n", b"\xff\xfe", b"x" * 100_000],
    ids=["empty", "blank line", "two lines", "not UTF-8", "too long"],
)
def test_a_file_that_holds_no_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    for each in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="token"):
            token_from_file(each)


def test_a_token_from_another_program(tmp_path: Path) -> None:
    """As `--web-token-file <(pass show token)` of a shell gives it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=Path.write_text, args=(path, "Zq7token\n"), daemon=True)
    writer.start()

    assert token_from_file(path) == "Zq7token"
    writer.join(10)
