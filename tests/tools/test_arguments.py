"""Passwords and tokens of a command line: in no message, and how they stay out of it altogether."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeseg.errors import ConfigError
from edgeseg.streaming import runner
from edgeseg.tools.arguments import (
    redacted_arguments,
    secrets_in_arguments,
    token_from_file,
    with_environment,
)
from edgeseg.tools.main import cli

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
def test_arguments(args, shown):
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
def test_no_message_repeats_them(monkeypatch, args, debug):
    def fail(config, observer):
        source = config.sources[0]
        observer.note(f"lost {source}")
        observer.progress(f"lost {source}")
        msg = f"cannot do {source} with {config.web_token}"
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
def test_sources_take_secrets_from_the_environment(monkeypatch, source, wanted):
    monkeypatch.setenv("ZQ_PASSWORD", 'a /b@"')
    monkeypatch.setenv("ZQ_PLAIN", "plain")
    monkeypatch.setenv("ZQ_SOURCE", "rtsp://u:p@cam")

    assert with_environment(source) == wanted


def test_a_variable_that_is_not_set(monkeypatch):
    monkeypatch.delenv("ZQ_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="wants the variable ZQ_PASSWORD of the environment"):
        with_environment("rtsp://u:${ZQ_PASSWORD}@cam")


def test_a_token_from_a_file(monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text("  Zq7 tökén\n", "utf-8")
    configs = []
    monkeypatch.setattr(
        runner, "run", lambda config, observer: configs.append(config) or observer.progress[0]
    )
    CliRunner().invoke(cli, ["run", "--source", "x", "--web-token-file", str(path)])

    assert token_from_file(path) == configs[0].web_token == "Zq7 tökén"


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_holds_no_token(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    for each in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="token"):
            token_from_file(each)


def test_a_token_from_another_program(tmp_path):
    """As `--web-token-file <(pass show token)` of a shell gives it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=Path.write_text, args=(path, "Zq7token\n"), daemon=True)
    writer.start()

    assert token_from_file(path) == "Zq7token"
    writer.join(10)
