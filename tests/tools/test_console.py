from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgeseg.tools.console import (
    CONTROL,
    hide_secrets,
    print_error,
    print_json,
    print_lines,
    print_note,
    print_pairs,
    print_table,
    print_trace,
    progress_line,
)

HOSTILE = "a\x1b[31mred\x9b2J\u202egnp\r\nerror: forged\x07\u2028[red]x[/] :smile: \\"


def test_json_keeps_the_letters_of_every_language(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"class": "Schraube größer"})

    out = capsys.readouterr().out
    assert "größer" in out
    assert json.loads(out) == {"class": "Schraube größer"}


def test_a_table_is_not_cut_in_a_pipe_and_has_no_blanks_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("Files", ("file", "size"), [("[x].onnx", "1 MB"), ("long" * 30, ":0:")])

    out = capsys.readouterr().out
    assert "[x].onnx" in out
    assert "long" * 30 in out
    assert ":0:" in out
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs("", [("input", "images uint8[1, 64, 96, 3]")])

    assert "input   images uint8[1, 64, 96, 3]" in capsys.readouterr().out


def test_notes_do_not_disturb_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines("result", "second")
    print_note("remark")

    assert capsys.readouterr() == ("result\nsecond\n", "remark\n")


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_line() as progress:
        progress("exporting [portable.onnx]")

    assert capsys.readouterr() == ("", "")


def test_a_terminal_is_not_steered_by_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_note(HOSTILE)
    print_error(HOSTILE)
    print_lines(HOSTILE)
    print_pairs(HOSTILE, [(HOSTILE, HOSTILE)])
    print_table(HOSTILE, ("name",), [(HOSTILE,)])

    out, err = capsys.readouterr()
    for text in (out, err):
        assert not CONTROL.search(text.replace("\n", ""))
        assert "[red]x[/] :smile: \\" in text
        assert "\nerror: forged" not in text
    assert err.count("\n") == 2


def test_json_means_the_same_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name\x9b": HOSTILE + "\x7f\udcff"}
    print_json(data)

    out = capsys.readouterr().out
    assert json.loads(out) == data
    assert not CONTROL.search(out.replace("\n", ""))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_terminal_does_not_have(encoding: str) -> None:
    script = (
        "from edgeseg.tools.console import *\n"
        "word = 'größer 漢 \\udcff'\n"
        "print_note(word); print_lines(word); print_pairs(word, [(word, word)])\n"
        "print_table(word, (word,), [(word,)]); print_error(word); print_trace(word); print_json([word])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )

    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(encoding)
    assert "gr" in said
    assert json.loads(said[said.rindex("[\n") :]) == ["größer 漢 \udcff"]


def test_secrets_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    hide_secrets({"s3cret-9", "s3cret-9-longer"})
    print_note("lost s3cret-9")
    print_error("lost s3cret-9-longer")
    print_trace("line\nlost s3cret-9")

    assert capsys.readouterr().err == "lost ***\nerror: lost ***\nline\nlost ***\n"
