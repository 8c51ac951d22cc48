from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError, ConfigError, DependencyError
from edgeseg.runtime.backends import openvino as backends
from edgeseg.runtime.backends.openvino import OpenVinoBackend, has_bfloat16
from edgeseg.runtime.host import processors
from edgeseg.runtime.host.processors import Cpus
from edgeseg.spec import Lowering
from tests.runtime.backend_contract import BackendContract, plain, same
from tests.runtime.fake_bundle import make_bundle, make_spec, write_graph

openvino = pytest.importorskip(
    "openvino", reason="needs OpenVINO: pip install 'edgeseg[openvino]'", exc_type=ImportError
)

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle


class TestOpenVino(BackendContract):
    def open(self, bundle: Bundle) -> OpenVinoBackend:
        graph = bundle.graph_path(Lowering.PORTABLE)
        return OpenVinoBackend(graph, bundle.spec, precision="fp32", threads=1)


def broken(graph: Path, **changes: Any) -> OpenVinoBackend:
    return OpenVinoBackend(graph, make_spec(**changes), precision="fp32")


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from edgeseg.bundle.manifest import open_bundle
from edgeseg.runtime.backends.openvino import OpenVinoBackend

bundles = [open_bundle(Path(path)) for path in sys.argv[1:]]
backends = [OpenVinoBackend(b.path / "portable.onnx", b.spec, precision="fp32") for b in bundles]
for bundle, backend in zip(bundles, backends):
    backend(np.zeros((bundle.spec.batch, *bundle.spec.input_size_hw, 3), np.uint8), 0.5)
    backend.close()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interruption_after_two_models_were_closed_in_turn(tmp_path: Path) -> None:
    paths = [str(make_bundle(tmp_path / name)) for name in ("one", "two")]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_description_has_version_and_place(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    backend = TestOpenVino().open(bundle)
    assert re.fullmatch(r"OpenVINO \d+\.\d+\.\d+ on CPU", backend.description)
    backend.close()
    with pytest.raises(ArtifactError, match="closed"):
        _ = backend.description


@pytest.mark.parametrize("content", [b"not a graph at all", pytest.param(b"\x00" * 4096, id="zeros")])
def test_a_graph_that_is_not_onnx(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "broken graph.onnx"
    graph.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"cannot load .*broken graph\.onnx; OpenVINO \d\S*: \w+"):
        broken(graph)
    assert capfd.readouterr() == ("", "")


def test_an_empty_graph(tmp_path: Path) -> None:
    graph = tmp_path / "empty.onnx"
    graph.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"empty\.onnx does not fit .*images is missing"):
        broken(graph)


def test_a_graph_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot load .*nowhere\.onnx; .*Could not open the file"):
        broken(tmp_path / "nowhere.onnx")


def test_a_truncated_graph(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"cannot load .*portable\.onnx"):
        broken(graph)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch": 2}, r"images is u8\[1,64,96,3\], not u8\[2,64,96,3\]"),
        ({"input_size_hw": (96, 64)}, r"images is u8\[1,64,96,3\], not u8\[1,96,64,3\]"),
        ({"max_detections": 7}, r"boxes is f32\[1,5,4\], not f32\[1,7,4\]"),
        ({"mask_size": 14}, r"masks is f32\[1,5,28,28\], not f32\[1,5,14,14\]"),
    ],
)
def test_a_graph_that_disagrees_with_its_spec(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    with pytest.raises(ArtifactError, match=named):
        broken(graph, **changes)


def test_a_graph_whose_labels_are_of_another_type(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec(), label_type=np.int64)
    with pytest.raises(ArtifactError, match=r"labels is i64\[1,5\], not i32\[1,5\]"):
        broken(graph)


@pytest.mark.parametrize("name", ["score_threshold", "labels", "masks"])
def test_a_graph_that_lacks_a_name(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    model = onnx.load(graph)
    for node in model.graph.node:
        node.input[:] = [f"other_{name}" if port == name else port for port in node.input]
        node.output[:] = [f"other_{name}" if port == name else port for port in node.output]
    for port in [*model.graph.input, *model.graph.output]:
        port.name = f"other_{name}" if port.name == name else port.name
    onnx.save(model, graph)
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        broken(graph)


def test_a_graph_with_one_output_more(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    model = onnx.load(graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1]))
    onnx.save(model, graph)
    with pytest.raises(ArtifactError, match=r"mean is f32\[1\], not missing"):
        broken(graph)


def test_a_graph_with_an_operator_that_openvino_does_not_know(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    model = onnx.load(graph)
    model.graph.node[0].op_type = "Grater"
    onnx.save(model, graph)
    with pytest.raises(ArtifactError, match=r"cannot load .*portable\.onnx; OpenVINO \d"):
        broken(graph)


def test_a_graph_that_fails_to_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    backend = TestOpenVino().open(bundle)

    def fail(*inputs: object, **options: object) -> None:
        msg = "Exception from src/inference/infer_request.cpp:75:\nout of memory\n\n"
        raise RuntimeError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_request", SimpleNamespace(infer=fail))
        with pytest.raises(ArtifactError, match=r"failed to compute; OpenVINO \S+: out of memory"):
            backend(plain(bundle, 0), 0.5)
    assert backend(plain(bundle, 0), 0.5).counts.tolist() == [3]


def test_without_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = write_graph(tmp_path / "portable.onnx", make_spec())
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"openvino .*pip install 'edgeseg\[openvino\]'"):
        broken(graph)


def test_a_precision_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of fp32, bf16, int8, got 'fp16'"):
        OpenVinoBackend(tmp_path / "any.onnx", make_spec(), precision="fp16")


def test_bfloat16_is_refused_where_the_processor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "has_bfloat16", lambda: False)
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    graph = bundle.graph_path(Lowering.PORTABLE)
    with pytest.raises(ConfigError, match="bf16 needs a processor with bfloat16"):
        OpenVinoBackend(graph, bundle.spec, precision="bf16")
    rounded = OpenVinoBackend(graph, bundle.spec, precision="int8", threads=1)
    exact = OpenVinoBackend(graph, bundle.spec, precision="fp32", threads=1)
    assert same(rounded(plain(bundle, 9), 0.05), exact(plain(bundle, 9), 0.05))


def test_bfloat16_gives_the_same_contract(tmp_path: Path) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    backend = OpenVinoBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec, precision="bf16")
    assert backend(plain(bundle, 0), 0.5).counts.tolist() == [3]
    assert backend(plain(bundle, 0), 0.5).masks.dtype == np.float32


def test_nothing_is_kept_for_shapes_that_were_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    compile_model = openvino.Core.compile_model

    def compiling(core: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.append(settings["CPU_RUNTIME_CACHE_CAPACITY"])
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(openvino.Core, "compile_model", compiling)
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    OpenVinoBackend(bundle.graph_path(Lowering.PORTABLE), bundle.spec, precision="fp32").close()

    assert asked == [0]


@pytest.mark.parametrize(("quota", "asked", "threads"), [(1.0, None, 1), (0.5, None, 1), (1.0, 2, 2)])
def test_no_more_threads_than_the_quota_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: float, asked: int | None, threads: int
) -> None:
    limited = Cpus(present=2, allowed=(0, 1), quota=quota)
    monkeypatch.setattr(processors, "usable_cpus", lambda root: limited)
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    graph = bundle.graph_path(Lowering.PORTABLE)

    backend = OpenVinoBackend(graph, bundle.spec, precision="fp32", threads=asked)

    assert backend._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == threads
    backend.close()
