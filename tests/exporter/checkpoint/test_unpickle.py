"""Pickles are read as data: hostile ones of every form run nothing, and unknown classes are no obstacle."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import io
import pathlib
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from edgeseg.errors import InputError
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.exporter.checkpoint.archive import Container
from edgeseg.exporter.checkpoint.unpickle import Instance, PickleError, RefusedError, read_pickle
from edgeseg.exporter.model.modules import describe_modules

if TYPE_CHECKING:
    from pathlib import Path

ANCHOR_TENSOR = "roi_heads.box_predictor.cls_score.weight"
WEIGHTS = {
    ANCHOR_TENSOR: torch.arange(6.0).reshape(2, 3),
    "roi_heads.box_predictor.cls_score.bias": torch.ones(2),
}


class Colour(enum.Enum):
    RED = 1


class TrainerConfig:
    """What a trainer of a user's own keeps beside the weights."""

    def __init__(self) -> None:
        self.rate = 0.1


class Runs:
    """Runs a function when Python unpickles it."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def saved(tmp_path: Path, content: Any, **options: Any) -> Path:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path, **options)
    return path


BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, device="cuda"),
    "numpy scalar": np.float64(0.4),
    "numpy array": np.arange(3),
    "numpy dtype": np.dtype("float32"),
    "path": pathlib.Path("data"),
    "windows path": pathlib.PureWindowsPath("C:/data"),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "counter": collections.Counter("abca"),
    "deque": collections.deque([1, 2]),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    "enum": Colour.RED,
    "own class": TrainerConfig(),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
    "bytes": b"\x00\xff",
    "complex": 1j,
    "huge number": 10**30,
    "slice": slice(1, 2),
    "class": TrainerConfig,
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE.keys())
def test_whatever_stands_beside_the_weights(tmp_path: Path, beside: Any, legacy: bool) -> None:
    content = {"model": WEIGHTS, "beside": beside, "list": [beside, beside]}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(read_checkpoint(path).weights[ANCHOR_TENSOR], WEIGHTS[ANCHOR_TENSOR])


@pytest.mark.parametrize("protocol", range(1, 6))
def test_every_protocol_of_pickle(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(
        pickle.dumps({"model": WEIGHTS, "args": argparse.Namespace(a=[1, (2, {3: "x"})])}, protocol)
    )
    assert torch.equal(read_checkpoint(path).weights[ANCHOR_TENSOR], WEIGHTS[ANCHOR_TENSOR])
    zipped = saved(tmp_path, {"model": WEIGHTS, "beside": {1, 2}}, pickle_protocol=max(protocol, 2))
    assert torch.equal(read_checkpoint(zipped).weights[ANCHOR_TENSOR], WEIGHTS[ANCHOR_TENSOR])


def test_views_and_shared_storages_keep_their_values(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    views = {
        ANCHOR_TENSOR: whole[1:3, ::2],
        "t": whole.T,
        "h": whole.half(),
        "b": whole.bfloat16(),
        "d": whole.double(),
    }
    for legacy in (False, True):
        path = saved(tmp_path, {"model": views}, _use_new_zipfile_serialization=not legacy)
        found = read_checkpoint(path).weights
        assert all(torch.equal(found[name], value.float()) for name, value in views.items())
    parameter = {ANCHOR_TENSOR: torch.nn.Parameter(whole)}
    assert torch.equal(read_checkpoint(saved(tmp_path, parameter)).weights[ANCHOR_TENSOR], whole)


TRAP = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
def run(*args, **kwargs):
    pathlib.Path(__file__).with_name("ran").touch()
class Run:
    __init__ = __new__ = __setstate__ = __call__ = run
"""
CALL = b"(S'now'\ntR"
HOSTILE = {
    "reduce": b"cos\nsystem\n(S'touch ran'\ntR.",
    "inst": b"(S'touch ran'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch ran'\no.",
    "newobj": b"\x80\x02cos\nsystem\nU\x09touch ran\x85\x81.",
    "newobj_ex": b"\x80\x04cos\nsystem\nU\x09touch ran\x85}\x92.",
    "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "eval": b'c__builtin__\neval\n(S\'open("ran", "w")\'\ntR.',
    "exec": b'cbuiltins\nexec\n(S\'open("ran", "w")\'\ntR.',
    "within a model": b"\x80\x02}U\x05modelc__builtin__\neval\n(S'1'\ntRs.",
}
HARMLESS = {
    "import": b"ctrap\nrun\n.",
    "import and call": b"ctrap\nrun\n" + CALL + b".",
    "import and inst": b"(S'now'\nitrap\nRun\n.",
    "setstate": b"ctrap\nRun\n)R}S'a'\nI1\nsb.",
    "getattr": b"c__builtin__\ngetattr\n(ctrap\nRun\nS'run'\ntR" + CALL + b".",
    "items": b"ctrap\nRun\n)RS'a'\nI1\ns.",
    "append": b"ctrap\nRun\n)RI1\na.",
}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a file when it is imported, or anything in it called."""
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "ran"


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE.keys())
def test_code_that_attacks_is_refused_by_name_and_not_run(trap: Path, code: bytes) -> None:
    with pytest.raises(RefusedError, match=r"it wants to run \w+\.(system|eval|exec)"):
        read_pickle(io.BytesIO(code), None)
    path = trap.with_name("evil.pth")
    path.write_bytes(code)
    with pytest.raises(InputError, match=r"evil\.pth (cannot be exported: it wants to run|.* but text that)"):
        read_checkpoint(path)
    assert not trap.exists()


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS.keys())
def test_nothing_is_imported_or_called(trap: Path, code: bytes) -> None:
    read_pickle(io.BytesIO(code), None)
    assert "trap" not in sys.modules
    assert not trap.exists()


def test_the_trap_works(trap: Path) -> None:
    pickle.loads(HARMLESS["import and call"])
    assert trap.exists()
    sys.modules.pop("trap")


def test_hostile_objects_beside_and_within_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (
        {"model": WEIGHTS, "args": Runs(print, "code ran")},
        {"model": {**WEIGHTS, "x": Runs(eval, "print('code ran')")}},
        [Runs(exec, "print('code ran')"), WEIGHTS],
    ):
        with pytest.raises(InputError, match=r"wants to run builtins\.(print|eval|exec)"):
            read_checkpoint(saved(tmp_path, content))
    assert "code ran" not in capsys.readouterr().out


def test_a_checkpoint_within_a_checkpoint_is_read_as_data_too(tmp_path: Path) -> None:
    inner = io.BytesIO()
    torch.save(Runs(eval, "1"), inner)
    code = pickle.dumps(Runs(torch.storage._load_from_bytes, inner.getvalue()))
    with pytest.raises(RefusedError, match=r"builtins\.eval"):
        read_pickle(io.BytesIO(code), Container(io.BytesIO(code)))


def test_objects_that_refer_to_themselves_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model": WEIGHTS}
    content["self"] = content
    doubled: list[Any] = [content]
    content["list"] = doubled
    for _ in range(60):
        doubled = [doubled, doubled]
    content["doubled"] = doubled
    assert torch.equal(
        read_checkpoint(saved(tmp_path, content)).weights[ANCHOR_TENSOR], WEIGHTS[ANCHOR_TENSOR]
    )


def test_an_object_is_what_it_would_have_been_made_of() -> None:
    found = read_pickle(io.BytesIO(pickle.dumps(TrainerConfig(), 4)), None)
    assert isinstance(found, Instance)
    assert found.name.endswith("test_unpickle.TrainerConfig")
    assert found.attributes == {"rate": 0.1}


@pytest.mark.parametrize(
    "code", [b"", b"\x80\x02", b"}.", b"(.", b"0.", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx."]
)
def test_half_a_pickle(code: bytes) -> None:
    if code == b"}.":
        assert read_pickle(io.BytesIO(code), None) == {}
        return
    with pytest.raises(PickleError):
        read_pickle(io.BytesIO(code), None)


def test_weights_that_unfold_to_many_times_the_file(tmp_path: Path) -> None:
    huge = {ANCHOR_TENSOR: torch.ones(1).expand(100_000, 100_000)}
    with pytest.raises(InputError, match=r"would take 38,147 MiB and the file has 0\.0"):
        read_checkpoint(saved(tmp_path, huge))
    small = {ANCHOR_TENSOR: torch.ones(1).expand(20, 30)}
    assert torch.equal(read_checkpoint(saved(tmp_path, small)).weights[ANCHOR_TENSOR], torch.ones(20, 30))


@pytest.mark.parametrize(
    "state",
    [
        {"_modules": {"a": 1}, "_parameters": 5, "_buffers": "x"},
        {"_modules": {1: None}, "_parameters": {}, "_non_persistent_buffers_set": 7},
        {"_modules": {}, 5: 6, "_parameters": {ANCHOR_TENSOR: WEIGHTS[ANCHOR_TENSOR]}},
    ],
)
def test_modules_of_a_form_that_torch_does_not_write(tmp_path: Path, state: dict[Any, Any]) -> None:
    module = Runs(torch.nn.Identity)
    module.call = (torch.nn.Identity, (), state)  # type: ignore[assignment]
    path = saved(tmp_path, {"model": module, "other": WEIGHTS})
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint.weights[ANCHOR_TENSOR], WEIGHTS[ANCHOR_TENSOR])
    if checkpoint.module is not None:
        describe_modules(checkpoint.module)
