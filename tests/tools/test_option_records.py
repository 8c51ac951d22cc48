"""Every option of every command beside the field of the record that it fills: default, choices and range."""

from __future__ import annotations

import inspect
import math
import types
import typing
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import edgeseg
from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.evaluate import EvaluateConfig
from edgeseg.benchmark.tune.config import TuneConfig, TuneLimits
from edgeseg.builder.build import BuildConfig
from edgeseg.bundle.engines import EngineOptions, Precision
from edgeseg.demo.config import DemoConfig
from edgeseg.errors import ConfigError
from edgeseg.exporter.config import ExportConfig
from edgeseg.quantisation.calibrate import CalibrateConfig
from edgeseg.runtime.choice import AUTO, CHOICES, EngineChoice
from edgeseg.runtime.targets import MACHINES
from edgeseg.streaming.config import DisplayConfig, OutputConfig, RunConfig, SourceConfig
from edgeseg.streaming.tracking import TrackConfig
from edgeseg.tools.main import VERBS, cli
from edgeseg.vision.drawing import DrawStyle

# The records that a verb fills; of two fields of one name the first is meant.
RECORDS: dict[str, tuple[type[Any], ...]] = {
    "export": (ExportConfig,),
    "calibrate": (CalibrateConfig,),
    "build-engine": (BuildConfig, EngineOptions, CalibrateConfig),
    "run": (RunConfig, SourceConfig, OutputConfig, DisplayConfig, DrawStyle, TrackConfig, EngineChoice),
    "evaluate": (EvaluateConfig, EngineChoice),
    "benchmark": (BenchmarkConfig, EngineChoice),
    "tune": (TuneConfig, TuneLimits, EngineChoice),
    "inspect": (),
    "doctor": (),
    "demo": (DemoConfig,),
}
PRINTING = "how the result is printed"
ONE_OF_FOUR = "`BuildConfig.precision`, a flag for each"
# Options that fill no field under their own name, and why.
WITHOUT_FIELD = {
    **{(verb, "as_json"): PRINTING for verb in VERBS},
    **{("build-engine", precision.value): ONE_OF_FOUR for precision in Precision},
    ("run", "cameras"): "further `SourceConfig.sources`",
    ("run", "track"): "makes a `TrackConfig` without lines and zones",
    ("run", "rebuild"): "a step before the run",
    ("run", "web_token_file"): "another way to give `DisplayConfig.web_token`",
    ("benchmark", "output"): "what is done with the report",
    ("benchmark", "html"): "what is done with the report",
    ("inspect", "model"): "an argument of the function",
    ("inspect", "engine"): "an argument of the function",
}
# Options whose default differs from the field's, and why.
OTHER_DEFAULT = {
    ("run", "sources"): "required, but --camera may give them",
    ("build-engine", "calib"): "without it nothing is calibrated",
    ("build-engine", "machine"): "an empty name stands for this machine",
}
# Bounds that are the option's alone, and why.
OTHER_RANGE = {
    ("calibrate", "images"): "the record says why fewer than 10 will not do",
    ("build-engine", "images"): "the record says why fewer than 10 will not do",
}
# What must be given to make a record, or to make its other fields count.
REQUIRED: dict[type[Any], dict[str, Any]] = {
    ExportConfig: {"checkpoint": Path("model.pth")},
    CalibrateConfig: {"calib": Path("photos"), "annotations": Path("labels.json")},
    EvaluateConfig: {"annotations": Path("labels.json")},
    TuneConfig: {
        "checkpoint": Path("model.pth"),
        "limits": TuneLimits(max_latency_ms=1),
        "images": Path("photos"),
    },
    RunConfig: {"source": SourceConfig(sources=(0,))},
    SourceConfig: {"sources": (0,)},
}
# Without these a verb is not parsed.
ARGUMENTS = {
    "export": ("model.pth",),
    "calibrate": ("--calib", "photos"),
    "evaluate": ("--annotations", "labels.json"),
    "tune": ("model.pth",),
}
STEP = 1e-6


class Filled(NamedTuple):
    """An option of a verb and the field that it fills."""

    verb: str
    option: click.Parameter
    record: type[Any]

    @property
    def name(self) -> str:
        assert self.option.name is not None
        return self.option.name

    @property
    def key(self) -> tuple[str, str]:
        return self.verb, self.name

    def __str__(self) -> str:
        return f"{self.verb} {self.name}"


def command_of(verb: str) -> click.Command:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command


def record_of(verb: str, name: str | None) -> type[Any] | None:
    return next((kind for kind in RECORDS[verb] if name in {field.name for field in fields(kind)}), None)


FILLED = [
    Filled(verb, option, record)
    for verb in VERBS
    for option in command_of(verb).params
    if (verb, option.name or "") not in WITHOUT_FIELD and (record := record_of(verb, option.name))
]
RANGES = (click.IntRange, click.FloatRange)
with_default = pytest.mark.parametrize(
    "filled", [each for each in FILLED if each.key not in OTHER_DEFAULT], ids=str
)
with_choices = pytest.mark.parametrize(
    "filled", [each for each in FILLED if isinstance(each.option.type, click.Choice)], ids=str
)
with_range = pytest.mark.parametrize(
    "filled",
    [each for each in FILLED if isinstance(each.option.type, RANGES) and each.key not in OTHER_RANGE],
    ids=str,
)


@pytest.mark.parametrize("verb", list(VERBS))
def test_an_option_fills_a_field_or_says_why_not(verb: str) -> None:
    strangers = [
        option.name
        for option in command_of(verb).params
        if (verb, option.name or "") not in WITHOUT_FIELD and record_of(verb, option.name) is None
    ]
    assert strangers == [], "add a field to the verb's record, or a reason to WITHOUT_FIELD"


def test_no_exception_outlives_its_option() -> None:
    names = {(verb, option.name) for verb in VERBS for option in command_of(verb).params}
    without_json = {key for key in WITHOUT_FIELD if WITHOUT_FIELD[key] != PRINTING}
    assert (without_json | OTHER_DEFAULT.keys() | OTHER_RANGE.keys()) - names == set()


@with_default
def test_the_defaults_are_the_same(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESEG_WEB_TOKEN", raising=False)
    (field,) = (each for each in fields(filled.record) if each.name == filled.name)

    if field.default is MISSING and field.default_factory is MISSING:
        assert filled.option.required, "the field must be given, so the option must be"
    else:
        given = default_of(filled)
        assert given == field.default
        assert isinstance(given, bool) == isinstance(field.default, bool)


def default_of(filled: Filled) -> Any:
    """What a verb's body is given where the option is not."""
    arguments = list(ARGUMENTS.get(filled.verb, ()))
    value = command_of(filled.verb).make_context(filled.verb, arguments).params[filled.name]
    is_optional_enum = enum_of(filled) is not None and value == AUTO
    return None if is_optional_enum and AUTO not in members(filled) else value


@with_choices
def test_the_choices_are_the_same(filled: Filled) -> None:
    assert isinstance(filled.option.type, click.Choice)
    choices = tuple(filled.option.type.choices)
    if filled.record is EngineChoice:
        assert choices == CHOICES[filled.name]
    elif filled.name == "machine":
        assert choices == MACHINES
    else:
        assert tuple(choice for choice in choices if choice != AUTO) == members(filled)


def test_every_precision_has_a_flag() -> None:
    flags = {option.name for option in command_of("build-engine").params}
    assert {precision.value for precision in Precision} <= flags


def enum_of(filled: Filled) -> type[Enum] | None:
    hint = typing.get_type_hints(filled.record)[filled.name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)), None)


def members(filled: Filled) -> tuple[str, ...]:
    kind = enum_of(filled)
    return () if kind is None else tuple(str(member.value) for member in kind)


@with_range
def test_the_ranges_are_the_same(filled: Filled) -> None:
    inside, outside = edges(filled.option.type)

    for value in inside:
        make(filled, value)
    for value in outside:
        with pytest.raises(ConfigError, match=filled.name):
            make(filled, value)


def edges(kind: click.ParamType[Any]) -> tuple[list[float], list[float]]:
    """The last values that an option takes, and the first that it refuses."""
    assert isinstance(kind, RANGES)
    step = 1 if isinstance(kind, click.IntRange) else STEP
    inside, outside = [], []
    for bound, is_open, outwards in ((kind.min, kind.min_open, -step), (kind.max, kind.max_open, step)):
        if bound is not None:
            inside.append(bound - outwards if is_open else bound)
            outside.append(bound if is_open else bound + outwards)
    return inside, outside


def make(filled: Filled, value: float) -> None:
    pair = getattr(filled.option, "nargs", 1) == 2
    filled.record(**{**REQUIRED.get(filled.record, {}), filled.name: (value, value) if pair else value})


def test_edges_of_open_and_closed_ranges() -> None:
    assert edges(click.IntRange(1)) == ([1], [0])
    assert edges(click.FloatRange(0, 1, max_open=True)) == ([0, 1 - STEP], [-STEP, 1])
    assert not math.isclose(1 - STEP, 1)


@pytest.mark.parametrize(
    ("function", "record"),
    [(edgeseg.load, EngineChoice), (edgeseg.stream, RunConfig), (edgeseg.stream, SourceConfig)],
    ids=["load and EngineChoice", "stream and RunConfig", "stream and SourceConfig"],
)
def test_a_function_has_the_records_defaults(function: Any, record: type[Any]) -> None:
    arguments = inspect.signature(function).parameters
    found = {
        field.name: field.default
        for field in fields(record)
        if field.name in arguments and arguments[field.name].default is not inspect.Parameter.empty
    }

    assert found
    assert {name: arguments[name].default for name in found} == found
