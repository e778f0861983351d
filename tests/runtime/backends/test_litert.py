"""TFLite files through LiteRT: what is refused and how, and names, sizes and integers as the file says them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from bundles import GRID, SIDE
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_models import IMAGE_SCALE, Operator, Tensor, detector_tflite, int8_detector_tflite, pack

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import TensorSpec
from edgewright.runtime.backends import litert
from edgewright.runtime.backends.choice import Delegate
from edgewright.runtime.backends.litert import DEFAULT_DELEGATE, LiteRtBackend
from edgewright.runtime.backends.tflite_file import read_tflite
from edgewright.runtime.errors import BackendError

ADD = schema.BuiltinOperator.ADD


def feed(model: bytes) -> dict[str, np.ndarray]:
    (spec,) = LiteRtBackend(model).inputs
    return {spec.name: np.ones(spec.shape, spec.dtype)}


def adder(shape: tuple[int, ...], **tensor: Any) -> bytes:
    """y = x + x."""
    options, kind = schema.AddOptionsT(), schema.BuiltinOptions.AddOptions
    tensors = [Tensor("x", shape, **tensor), Tensor("y", shape, **tensor)]
    return pack(tensors, [Operator(ADD, ("x", "x"), ("y",), options, kind)], ("x",), ("y",))


def test_names_come_from_the_signature_where_there_is_one() -> None:
    plain, signed = LiteRtBackend(detector_tflite()), LiteRtBackend(detector_tflite(signature=True))
    assert plain.inputs == signed.inputs
    assert plain.outputs == signed.outputs
    names = [tensor.name for tensor in read_tflite(detector_tflite(signature=True)).tensors]
    assert "in:0" in names
    assert "image" not in names


def test_integers_carry_their_scale() -> None:
    (image,) = LiteRtBackend(int8_detector_tflite()).inputs
    assert image == TensorSpec("image", (1, SIDE, SIDE, 3), "int8", scale=pytest.approx(IMAGE_SCALE), zero_point=0)


def test_xnnpack_is_on_unless_the_variant_says_otherwise() -> None:
    model = detector_tflite()
    with_it, without = LiteRtBackend(model), LiteRtBackend(model, engine={DEFAULT_DELEGATE: False})
    assert "nothing delegated" not in with_it.engine
    assert "nothing delegated" in without.engine
    np.testing.assert_allclose(with_it.run(feed(model))["scores"], without.run(feed(model))["scores"], atol=1e-5)
    with pytest.raises(BackendError, match="must be true or false"):
        LiteRtBackend(model, engine={DEFAULT_DELEGATE: "no"})


def test_an_open_batch_is_run_as_it_is_stored() -> None:
    assert LiteRtBackend(detector_tflite(batch=-1)).inputs[0].shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize(("shape", "signature"), [((1, 1, 1, 3), (1, -1, -1, 3)), ((2, 4), (-1, 4)), ((1, 4), (1, -1))])
def test_other_open_sizes_are_refused(shape: tuple[int, ...], signature: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match=r"input 'x' has shape .*-1.*convert the model with a fixed input shape"):
        LiteRtBackend(adder(shape, signature=signature))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FlexErf", "'FlexErf', one of TensorFlow's own .flex.*use the bundle's onnx variant"),
        ("MyOwn", "unresolved custom op: MyOwn.*operators of its own: MyOwn; rewrite"),
    ],
)
def test_an_operator_that_the_interpreter_lacks_is_named(name: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        LiteRtBackend(detector_tflite(custom=name))


def test_a_builtin_operator_of_the_future() -> None:
    model = pack([Tensor("x", (1, 4)), Tensor("y", (1, 4))], [Operator(250, ("x",), ("y",))], ("x",), ("y",))
    with pytest.raises(BackendError, match="LiteRT refuses the model: .*25"):
        LiteRtBackend(model)


def test_a_type_that_no_camera_has() -> None:
    model = pack([Tensor("x", (1, 4), "bool")], [], ("x",), ("x",))
    with pytest.raises(BackendError, match="input 'x' has type bool, which is not supported"):
        LiteRtBackend(model)


def test_two_outputs_of_one_name() -> None:
    with pytest.raises(BackendError, match="several outputs of one name"):
        LiteRtBackend(pack([Tensor("x", (1, 4))], [], ("x",), ("x", "x")))


@pytest.mark.parametrize("side", [1 << 14, 1 << 20])
def test_a_senseless_amount_of_memory_is_refused_before_it_is_taken(side: int) -> None:
    with pytest.raises(BackendError, match="needs [0-9,]+ bytes at once .*'(image|x|y|cells)'"):
        LiteRtBackend(adder((1, side, side, 3)))


def test_a_large_file_of_honest_size_is_fine() -> None:
    assert LiteRtBackend(adder((1, 512, 512, 3))).outputs[0].shape == (1, 512, 512, 3)


@settings(max_examples=300)
@given(st.integers(0, len(detector_tflite()) - 1), st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_harmless(at: int, value: int) -> None:
    data = bytearray(detector_tflite())
    data[at] = value
    with contextlib.suppress(BackendError):
        assert read_tflite(bytes(data)).subgraphs == 1


def test_a_file_that_was_cut_says_so() -> None:
    with pytest.raises(BackendError, match=r"points to byte \d+ of 100; the file is probably cut short"):
        read_tflite(detector_tflite()[:100])


def test_every_way_out_of_the_file_is_seen() -> None:
    """Points each 4-byte word far outside; the reader never trips over anything but its own error."""
    model = detector_tflite(signature=True)
    seen = 0
    for at in range(8, len(model) - 4, 4):
        data = model[:at] + b"\xff\xff\xff\x7f" + model[at + 4 :]
        try:
            read_tflite(data)
        except BackendError:
            seen += 1
    assert seen > len(model) // 10


@pytest.mark.parametrize("library", ["nowhere.so", "libm.so.6"])
def test_a_delegate_is_a_path_and_never_a_name_to_search_for(library: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no delegate library"):
        LiteRtBackend(detector_tflite(), delegate=Delegate(Path(library)))
    with pytest.raises(BackendError, match="there is no delegate library"):
        LiteRtBackend(detector_tflite(), delegate=Delegate(tmp_path))


def test_a_library_that_is_no_delegate(tmp_path: Path) -> None:
    fake = tmp_path / "libfake.so"
    fake.write_bytes(b"no library")
    with pytest.raises(BackendError, match=r"libfake.so cannot be loaded"):
        LiteRtBackend(detector_tflite(), delegate=Delegate(fake))
    other = Path(np.__path__[0]).glob("**/_multiarray_umath*.so")
    with pytest.raises(BackendError, match=r"cannot be loaded: .*tflite_plugin_create_delegate"):
        LiteRtBackend(detector_tflite(), delegate=Delegate(next(other)))


def test_without_any_interpreter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(litert.importlib, "import_module", gone)
    with pytest.raises(MissingExtraError, match=r"edgewright\[tflite\]"):
        LiteRtBackend(detector_tflite())


def test_a_broken_package_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("libgomp.so.1: cannot open shared object file", name=name)

    monkeypatch.setattr(litert.importlib, "import_module", broken)
    with pytest.raises(Exception, match="ai_edge_litert, which is installed but cannot be loaded: libgomp"):
        LiteRtBackend(detector_tflite())


def test_the_next_package_serves_where_the_first_is_missing(tmp_path: Path) -> None:
    """Two packages under the names of the fallbacks, which lend the interpreter that is really here."""
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    (tmp_path / "tflite_runtime" / "interpreter.py").write_text("import real\nInterpreter = real.Interpreter\n")
    code = (
        "import sys, importlib, numpy as np\n"
        "import ai_edge_litert.interpreter as real\n"
        "sys.modules['real'] = real\n"
        "for name in [n for n in sys.modules if n.startswith('ai_edge_litert')]: del sys.modules[name]\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('ai_edge_litert'): raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.path[:0] = [{str(tmp_path)!r}]\n"
        "from edgewright.runtime.backends.litert import LiteRtBackend, _interpreter_module\n"
        "print(_interpreter_module()[0])\n"
        f"model = bytes.fromhex({detector_tflite().hex()!r})\n"
        f"answer = LiteRtBackend(model).run({{'image': np.ones((1, {SIDE}, {SIDE}, 3), np.float32)}})\n"
        f"assert answer['scores'].shape == (1, {GRID * GRID}, 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "tflite_runtime"
