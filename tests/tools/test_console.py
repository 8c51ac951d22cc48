from __future__ import annotations

import json

from edgeseg.tools.console import print_json, print_lines, print_note, print_pairs, print_table, progress_line


def test_json_keeps_the_letters_of_every_language(capsys) -> None:
    print_json({"class": "Schraube größer"})

    out = capsys.readouterr().out
    assert "größer" in out
    assert json.loads(out) == {"class": "Schraube größer"}


def test_a_table_is_not_cut_in_a_pipe_and_has_no_blanks_at_the_end(capsys) -> None:
    print_table("Files", ("file", "size"), [("[x].onnx", "1 MB"), ("long" * 30, ":0:")])

    out = capsys.readouterr().out
    assert "[x].onnx" in out
    assert "long" * 30 in out
    assert ":0:" in out
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_pairs(capsys) -> None:
    print_pairs("", [("input", "images uint8[1, 64, 96, 3]")])

    assert "input   images uint8[1, 64, 96, 3]" in capsys.readouterr().out


def test_notes_do_not_disturb_a_result(capsys) -> None:
    print_lines("result", "second")
    print_note("remark")

    assert capsys.readouterr() == ("result\nsecond\n", "remark\n")


def test_progress_is_silent_where_nobody_watches(capsys) -> None:
    with progress_line() as progress:
        progress("exporting [portable.onnx]")

    assert capsys.readouterr() == ("", "")
