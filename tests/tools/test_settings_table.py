"""The table of settings, and the remarks on what a passed comparison is worth."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.settings import SETTING_NAMES, ModelSettings, Origin
from edgeseg.spec import ModelSpec
from edgeseg.tools.parity_table import parity_remarks
from edgeseg.tools.settings_table import GROUPS, print_settings
from tests.test_spec import FACTS, REPORT

if TYPE_CHECKING:
    from edgeseg.spec import ParityReport

ASSUMED = dict.fromkeys(SETTING_NAMES, Origin.ASSUMED)


def spec(report: ParityReport | None = None, **origins: Origin) -> ModelSpec:
    return ModelSpec(
        **FACTS,
        settings=ModelSettings(),
        origins={**ASSUMED, **origins},
        parity=report,
        remarks=("two copies",),
    )


def rows(page: str) -> dict[str, str]:
    return {name: line for line in page.splitlines() for name in GROUPS if line.strip().startswith(name)}


def test_every_setting_is_in_the_table() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SETTING_NAMES)


def test_what_was_assumed_is_listed_with_how_to_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_settings(spec(image_mean=Origin.CHECKPOINT, image_std=Origin.CHECKPOINT), all_of_them=False)
    out, err = capsys.readouterr()

    assert out.startswith("Assumed, as neither the checkpoint nor an option says it.")
    assert "normalisation" not in rows(out)
    assert set(rows(out)) == set(GROUPS) - {"normalisation"}
    assert "800 x 1344, min_size 800, max_size 1333" in rows(out)["input size"]
    assert rows(out)["input size"].rstrip().endswith("--size")
    assert "anchor_sizes 32 | 64 | 128 | 256 | 512, anchor_aspect_ratios" in rows(out)["anchors"]
    assert "batch_norm_eps 1e-05 (0 if it was trained from" in out
    assert "edgeseg.save_checkpoint(model, 'model.pth')" in err


@pytest.mark.parametrize("name", ["input_size_hw", "min_size", "max_size"])
def test_an_input_size_that_anyone_said_is_not_assumed(capsys: pytest.CaptureFixture[str], name: str) -> None:
    origins: dict[str, Any] = {name: Origin.OPTION}
    print_settings(spec(**origins), all_of_them=False)
    assert "input size" not in rows(capsys.readouterr().out)


def test_all_of_them_with_who_said_each(capsys: pytest.CaptureFixture[str]) -> None:
    origins: dict[str, Any] = dict.fromkeys(SETTING_NAMES, Origin.CHECKPOINT)
    print_settings(spec(**origins), all_of_them=True)
    out, err = capsys.readouterr()

    assert set(rows(out)) == set(GROUPS)
    assert all("checkpoint" in line for line in rows(out).values())
    assert err == ""


def test_nothing_is_said_of_what_is_known_or_of_an_older_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    origins: dict[str, Any] = dict.fromkeys(SETTING_NAMES, Origin.CHECKPOINT)
    print_settings(spec(**origins), all_of_them=False)
    print_settings(ModelSpec(**FACTS), all_of_them=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("facts", "remark"),
    [
        ({"confident": 0, "image_source": "photos"}, "PyTorch is sure of nothing (no score above 0.5)"),
        ({"confident": 0}, ""),
        ({"confident": None, "image_source": "photos"}, ""),
        ({"confident": 3, "image_source": "photos"}, ""),
        ({"annotated": 30, "annotated_found": 2}, "PyTorch finds 2 of 30 objects that are annotated"),
        ({"annotated": 30, "annotated_found": 20}, ""),
        ({"annotated": 2, "annotated_found": 0}, ""),
    ],
)
def test_remarks_on_what_pytorch_finds(facts: dict[str, Any], remark: str) -> None:
    first, *others = parity_remarks(spec(dataclasses.replace(REPORT, **facts)))
    assert first == "two copies"
    assert (remark in "".join(others)) if remark else not others
