"""What an engine is built for: every rule, on machines that are made up."""

from __future__ import annotations

import importlib.util
import platform
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.bundle.engines import PRECISIONS_OF, EngineOptions, Gpu, Precision, Target
from edgeseg.bundle.refusals import RefusalKind
from edgeseg.errors import ConfigError, DependencyError
from edgeseg.runtime import targets as module
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind
from edgeseg.runtime.targets import BuildChoice, choose_engine, engine_weight_bits

if TYPE_CHECKING:
    from collections.abc import Callable

NO_GPU = "no NVIDIA GPU can be used here (CUDA cannot start: no device); `edgeseg doctor` tells what"
TENSORRT, RTX, OPENVINO, ORT = Target
PLAIN = EngineOptions()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make up a machine."""

    def make(
        *,
        capability: str | None = None,
        tensorrt: bool = False,
        rtx: bool = False,
        openvino: bool = False,
        family: str = "x86_64",
    ) -> None:
        there = {TensorRTKind.TENSORRT: tensorrt, TensorRTKind.RTX: rtx}

        def find_gpu() -> Gpu:
            if capability is None:
                raise DependencyError(NO_GPU)
            return Gpu(name="a GPU", compute_capability=capability, driver="12.6")

        monkeypatch.setattr(module, "find_gpu", find_gpu)
        monkeypatch.setattr(module, "is_installed", lambda tensorrt_kind: there[tensorrt_kind])
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: object() if name in ("openvino" if openvino else "", "onnxruntime") else None,
        )
        monkeypatch.setattr(module, "load_library", lambda tensorrt_kind, purpose: None)
        monkeypatch.setattr(module, "require", lambda name, purpose: None)
        monkeypatch.setattr(platform, "machine", lambda: family)

    return make


def chosen(precision: Precision | None = None, **options: Any) -> tuple[Target, Precision, str]:
    return choose_engine(None, precision, EngineOptions(**options))[:3]


def passed_over(precision: Precision | None = None) -> list[tuple[Target, RefusalKind]]:
    refusals = choose_engine(None, precision, PLAIN).refusals
    assert {refusal.precision for refusal in refusals} <= {precision}
    return [(refusal.target, refusal.kind) for refusal in refusals]


# Where nothing is named.


def test_tensorrt_goes_first_where_there_is_a_gpu(machine: Callable[..., None]) -> None:
    machine(capability="8.6", tensorrt=True, rtx=True, openvino=True)

    assert chosen() == (TENSORRT, Precision.FP16, "tensorrt runs here")
    assert passed_over() == []


def test_rtx_is_next(machine: Callable[..., None]) -> None:
    machine(capability="8.6", rtx=True, openvino=True)

    assert chosen() == (RTX, Precision.FP16, "no TensorRT; tensorrt-rtx runs here")
    assert passed_over() == [(TENSORRT, RefusalKind.UNAVAILABLE)]


@pytest.mark.parametrize("capability", ["8.7", "9.0", "7.0", "11.0"])
def test_rtx_has_nothing_for_a_jetson_or_a_data_centre(machine: Callable[..., None], capability: str) -> None:
    machine(capability=capability, rtx=True, openvino=True)

    assert chosen() == (
        OPENVINO,
        Precision.FP32,
        f"no TensorRT; TensorRT for RTX has nothing for compute capability {capability}; openvino runs here",
    )


@pytest.mark.parametrize("capability", ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"])
def test_rtx_has_the_gpus_of_desks_and_workstations(machine: Callable[..., None], capability: str) -> None:
    machine(capability=capability, rtx=True)

    assert chosen()[0] is RTX


def test_a_gpu_without_either_library_is_left_to_the_processor(machine: Callable[..., None]) -> None:
    machine(capability="8.6", openvino=True)

    assert chosen() == (OPENVINO, Precision.FP32, "no TensorRT; no TensorRT for RTX; openvino runs here")


def test_without_a_gpu_openvino_is_taken_and_the_libraries_do_not_count(machine: Callable[..., None]) -> None:
    machine(tensorrt=True, rtx=True, openvino=True)

    assert chosen() == (OPENVINO, Precision.FP32, "no NVIDIA GPU can be used here; openvino runs here")


def test_onnxruntime_is_left(machine: Callable[..., None]) -> None:
    machine()

    assert chosen() == (
        ORT,
        Precision.FP32,
        "no NVIDIA GPU can be used here; no openvino; onnxruntime runs here",
    )


@pytest.mark.parametrize("family", ["aarch64", "arm64"])
def test_openvino_is_not_for_arm(machine: Callable[..., None], family: str) -> None:
    machine(openvino=True, family=family)

    assert chosen()[::2] == (
        ORT,
        "no NVIDIA GPU can be used here; OpenVINO is for x86 here; onnxruntime runs here",
    )


def test_windows_calls_x86_otherwise(machine: Callable[..., None]) -> None:
    machine(openvino=True, family="AMD64")

    assert chosen()[0] is OPENVINO


# Where a precision is named.


@pytest.mark.parametrize(
    ("precision", "target"),
    [
        (Precision.INT8, TENSORRT),
        (Precision.FP16, TENSORRT),
        (Precision.FP32, TENSORRT),
        (Precision.BF16, OPENVINO),
    ],
)
def test_a_precision_on_a_machine_that_has_everything(
    machine: Callable[..., None], precision: Precision, target: Target
) -> None:
    machine(capability="8.6", tensorrt=True, rtx=True, openvino=True)

    assert chosen(precision)[:2] == (target, precision)


@pytest.mark.parametrize(
    ("precision", "target"),
    [(Precision.INT8, OPENVINO), (Precision.FP32, OPENVINO), (Precision.BF16, OPENVINO)],
)
def test_a_precision_on_a_machine_without_a_gpu(
    machine: Callable[..., None], precision: Precision, target: Target
) -> None:
    machine(openvino=True)

    assert chosen(precision)[:2] == (target, precision)


def test_what_has_not_that_precision_is_passed_over_and_told(machine: Callable[..., None]) -> None:
    machine(capability="8.6", tensorrt=True, openvino=True)

    assert chosen(Precision.BF16)[2] == "tensorrt has no bf16; tensorrt-rtx has no bf16; openvino runs here"
    assert passed_over(Precision.BF16) == [
        (TENSORRT, RefusalKind.UNSUPPORTED),
        (RTX, RefusalKind.UNSUPPORTED),
    ]


def test_a_precision_that_nothing_here_has(machine: Callable[..., None]) -> None:
    machine(openvino=True)

    with pytest.raises(
        ConfigError,
        match=r"^no NVIDIA GPU can be used here; openvino has no fp16; onnxruntime has no fp16; for a GPU of",
    ):
        chosen(Precision.FP16)


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("precision", Precision)
def test_a_target_by_name_has_its_precisions_and_no_other(
    machine: Callable[..., None], target: Target, precision: Precision
) -> None:
    machine()
    if precision in PRECISIONS_OF[target]:
        assert choose_engine(target, precision, PLAIN) == BuildChoice(target, precision, "it was asked for")
        return
    with pytest.raises(ConfigError, match=rf"{target.value} computes in int8, .*; got {precision.value}"):
        choose_engine(target, precision, PLAIN)


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        (TENSORRT, Precision.FP16),
        (RTX, Precision.FP16),
        (OPENVINO, Precision.FP32),
        (ORT, Precision.FP32),
    ],
)
def test_a_target_by_name_is_taken_whatever_is_here(
    machine: Callable[..., None], target: Target, precision: Precision
) -> None:
    machine()

    assert choose_engine(target, None, PLAIN) == BuildChoice(target, precision, "it was asked for")


# Where options are given.


@pytest.mark.parametrize(
    ("options", "target", "option"),
    [
        ({"machine": "aarch64"}, ORT, "--machine"),
        ({"machine": "x86_64"}, ORT, "--machine"),
        ({"compute_capabilities": ("SM86",)}, RTX, "--compute-capability"),
        ({"dla": 0}, TENSORRT, "--dla"),
        ({"dla": 1, "workspace_mib": 512}, TENSORRT, "--dla"),
        ({"hardware_compatible": True}, TENSORRT, "--hardware-compatible"),
        ({"hardware_compatible": True, "dla": 0}, TENSORRT, "--hardware-compatible"),
        ({"version_compatible": True, "hardware_compatible": True}, TENSORRT, "--version-compatible"),
        ({"workspace_mib": 512, "compute_capabilities": ("SM75",)}, RTX, "--compute-capability"),
    ],
)
def test_an_option_of_one_target_implies_it(
    machine: Callable[..., None], options: dict[str, Any], target: Target, option: str
) -> None:
    # What is needed to build is found missing when it builds; nothing else would do.
    machine(openvino=True)

    assert chosen(**options)[::2] == (target, f"{option} is for it alone")


@pytest.mark.parametrize(("tensorrt", "target"), [(True, TENSORRT), (False, RTX)])
def test_an_option_of_both_tensorrts_leaves_the_processor_out(
    machine: Callable[..., None], tensorrt: bool, target: Target
) -> None:
    machine(capability="8.6", tensorrt=tensorrt, rtx=True, openvino=True)

    assert chosen(workspace_mib=512)[0] is target


@pytest.mark.parametrize(("openvino", "target"), [(True, OPENVINO), (False, ORT)])
def test_bits_of_weights_are_for_processors(
    machine: Callable[..., None], openvino: bool, target: Target
) -> None:
    machine(capability="8.6", tensorrt=True, rtx=True, openvino=openvino)

    assert chosen(Precision.INT8, weight_bits=7)[:2] == (target, Precision.INT8)
    assert chosen(Precision.INT8, weight_bits=7, machine="x86_64")[0] is ORT
    for gpu in (TENSORRT, RTX):
        with pytest.raises(
            ConfigError, match=f"--weight-bits is for --target openvino or .*, got {gpu.value}"
        ):
            choose_engine(gpu, Precision.INT8, EngineOptions(weight_bits=7))


@pytest.mark.parametrize("precision", [None, Precision.FP32, Precision.BF16])
def test_bits_of_weights_are_for_int8(machine: Callable[..., None], precision: Precision | None) -> None:
    machine(openvino=True)

    with pytest.raises(ConfigError, match=r"--weight-bits is for --int8, got (fp32|bf16)"):
        chosen(precision, weight_bits=7)


@pytest.mark.parametrize(
    ("instructions", "options", "target", "bits"),
    [
        ("vnni", {}, OPENVINO, 8),
        ("without_vnni", {}, OPENVINO, 7),
        ("without_vnni", {}, TENSORRT, 8),
        ("vnni", {"machine": "x86_64"}, ORT, 7),
        ("without_vnni", {"machine": "aarch64"}, ORT, 8),
        ("vnni", {"weight_bits": 7}, OPENVINO, 7),
        ("without_vnni", {"weight_bits": 8, "machine": "x86_64"}, ORT, 8),
    ],
)
def test_bits_of_the_weights(
    machine: Callable[..., None],
    request: pytest.FixtureRequest,
    instructions: str,
    options: dict[str, Any],
    target: Target,
    bits: int,
) -> None:
    machine()
    request.getfixturevalue(instructions)

    assert engine_weight_bits(target, EngineOptions(**options)) == bits


def test_an_option_of_gpus_without_one(machine: Callable[..., None]) -> None:
    machine(openvino=True, rtx=True)

    with pytest.raises(
        ConfigError, match=r"^no NVIDIA GPU can be used here; for a GPU .*--compute-capability"
    ):
        chosen(workspace_mib=512)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dla": 0, "compute_capabilities": ("SM86",)}, "--dla is for tensorrt and --compute-capability for"),
        (
            {"dla": 0, "machine": "aarch64"},
            "--dla is for tensorrt and --machine for onnxruntime; give one of",
        ),
        (
            {"hardware_compatible": True, "compute_capabilities": ("SM86",)},
            "--hardware-compatible is for tensorrt and --compute-capability for tensorrt-rtx; give one",
        ),
        ({"workspace_mib": 1, "machine": "x86_64"}, "--workspace-mib is for tensorrt and --machine for onnx"),
    ],
)
def test_options_of_different_targets(
    machine: Callable[..., None], options: dict[str, Any], named: str
) -> None:
    machine(capability="8.6", tensorrt=True, rtx=True)

    with pytest.raises(ConfigError, match=named):
        chosen(**options)


@pytest.mark.parametrize(
    ("target", "options", "named"),
    [
        (
            ORT,
            {"workspace_mib": 512},
            "--workspace-mib is for --target tensorrt or tensorrt-rtx, got onnxruntim",
        ),
        (RTX, {"dla": 0}, "--dla is for --target tensorrt, got tensorrt-rtx"),
        (
            RTX,
            {"hardware_compatible": True},
            "--hardware-compatible is for --target tensorrt, got tensorrt-rtx",
        ),
        (
            TENSORRT,
            {"compute_capabilities": ("SM86",)},
            "--compute-capability is for --target tensorrt-rtx, got",
        ),
        (OPENVINO, {"machine": "x86_64"}, "--machine is for --target onnxruntime, got openvino"),
        (
            OPENVINO,
            {"version_compatible": True},
            "--version-compatible is for --target tensorrt, got openvino",
        ),
    ],
)
def test_a_target_by_name_that_does_not_have_an_option(
    machine: Callable[..., None], target: Target, options: dict[str, Any], named: str
) -> None:
    machine(capability="8.6", tensorrt=True, rtx=True, openvino=True)

    with pytest.raises(ConfigError, match=named):
        choose_engine(target, None, EngineOptions(**options))


def test_a_processor_that_is_not_known(machine: Callable[..., None]) -> None:
    machine()

    with pytest.raises(ConfigError, match="built for x86_64 or aarch64, got riscv64"):
        choose_engine(ORT, Precision.INT8, EngineOptions(machine="riscv64"))


def test_a_precision_that_the_implied_target_does_not_have(machine: Callable[..., None]) -> None:
    machine()

    with pytest.raises(ConfigError, match="onnxruntime computes in int8, fp32; got fp16"):
        chosen(Precision.FP16, machine="aarch64")
