"""Checkpoints that ask for all memory or all time are refused, in little of both."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseg.errors import InputError
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.exporter.checkpoint.unpickle import Instance
from edgeseg.exporter.model.modules import describe_modules
from tests.attack import checkpoints

MOST_MIB = 100
# One process for all: each would spend seconds on importing PyTorch.
CHILD = """
import resource, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import safetensors.torch
from edgeseg.errors import EdgeSegError
from edgeseg.exporter.checkpoint import read_checkpoint
from tests.attack import checkpoints

resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
folder = Path(sys.argv[1])
names = [*checkpoints.ALL, *checkpoints.HOLES]
for number, name in enumerate(names):
    path = folder / f"{number}.pth"
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read_checkpoint(path)
        what = "was read"
    except EdgeSegError as exc:
        what = "" if path.name in str(exc) and len(str(exc)) < 1000 else f"says {exc}"
    except BaseException as exc:
        what = f"gave {exc!r}"[:300]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(name, f"{grown:.0f}", what, sep="\\t", flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, str]]:
    """Memory in MiB by which the process grew beyond all before, and what went wrong."""
    if sys.platform != "linux":
        pytest.skip("memory is measured on Linux")
    folder = tmp_path_factory.mktemp("bombs")
    for number, name in enumerate([*checkpoints.ALL, *checkpoints.HOLES]):
        checkpoints.write(name, folder / f"{number}.pth")
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for path in folder.iterdir():
        path.unlink()
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (float(grown), what) for name, grown, what in rows}


@pytest.mark.parametrize("name", [*checkpoints.ALL, *checkpoints.HOLES])
def test_a_bomb_is_refused_in_little_memory(outcomes: dict[str, tuple[float, str]], name: str) -> None:
    grown_mib, fault = outcomes.get(name, (0, "ended the process"))

    assert not fault
    assert grown_mib <= MOST_MIB


def test_tied_weights_and_small_expanded_ones_are_no_bombs(tmp_path: Path) -> None:
    one = torch.randn(64, 64)
    weights = {checkpoints.NAME: one, "tied": one, "part": one[:, ::2], "bias": torch.ones(1).expand(256)}
    torch.save(weights, tmp_path / "tied.pth")

    found = read_checkpoint(tmp_path / "tied.pth").weights

    assert {name: bool(torch.equal(found[name], value)) for name, value in weights.items()} == dict.fromkeys(
        weights, True
    )


def test_numbers_of_every_type_are_read_or_refused(tmp_path: Path) -> None:
    kinds = [kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)]
    for kind in kinds:
        name = str(kind).rpartition(".")[2].encode()
        body = checkpoints.tensor("0", (2,), (1,)).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3")
        body = body.replace(
            b"ccollections\nOrderedDict\n)R", b"ccollections\nOrderedDict\n)Rctorch\n" + name + b"\n"
        )
        (tmp_path / "x.pth").write_bytes(
            checkpoints.archive(
                checkpoints.pickled(checkpoints.mapping({checkpoints.NAME: body})), {"0": b"\1" * 64}
            )
        )
        # Either is right, and nothing else.
        with contextlib.suppress(InputError):
            read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("place", ["_orig_mod", "child", "helper"])
def test_a_module_that_is_its_own_part(place: str) -> None:
    module = Instance("torch.nn.Module")
    helper = Instance("torchvision.ops.Thing")
    helper.state = {f"h{index}": helper for index in range(8)}
    parts: dict[str, Any] = {place: module, **{f"{place}{index}": module for index in range(7)}}
    module.state = {
        "_modules": parts,
        "_parameters": {},
        "_buffers": {},
        **({"h": helper} if place == "helper" else {}),
    }

    with pytest.raises(InputError, match="made of itself"):
        describe_modules(module)


@pytest.mark.parametrize(
    "make",
    [lambda path: os.mkfifo(path), lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "folder", "device"],
)
def test_only_a_file_is_a_checkpoint(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "x.pth")

    with pytest.raises(InputError, match="a checkpoint is a file"):
        read_checkpoint(tmp_path / "x.pth")
