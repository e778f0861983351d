"""Which backend a variant gets: by name, by profile, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from bundles import detector_onnx
from tflite_models import detector_tflite

from edgewright.bundle.manifest import Format, Precision
from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.backends.choice import (
    PROVIDERS,
    BackendName,
    Delegate,
    EngineOptions,
    backends_for,
    engine_options,
    engine_version,
    options_as_json,
    options_from_json,
    read_backend_name,
    why_not,
)
from edgewright.runtime.backends.onnx import OnnxBackend, Provider, provider_rows
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.errors import BackendError

CPU, CUDA, TENSORRT = (
    BackendName.ONNXRUNTIME_CPU,
    BackendName.ONNXRUNTIME_CUDA,
    BackendName.ONNXRUNTIME_TENSORRT,
)


@pytest.mark.parametrize("name", [CUDA, TENSORRT])
def test_a_provider_that_this_build_lacks_is_an_error_that_lists_those_there_are(name: BackendName) -> None:
    with pytest.raises(BackendError, match=rf"{name.value}.*needs {PROVIDERS[name]}.*it has .*CPUExecutionProvider"):
        OnnxBackend(detector_onnx(), provider=Provider(name))
    reason = why_not(name)
    assert reason is not None
    assert "CPUExecutionProvider" in reason


def test_a_provider_that_does_not_start_is_an_error_and_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CUDA's libraries a GPU build of ONNX Runtime computes on the processor and only warns."""
    there = [PROVIDERS[CUDA], PROVIDERS[CPU]]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(BackendError, match="could not start CUDAExecutionProvider and would compute on CPU"),
    ):
        OnnxBackend(detector_onnx(), provider=Provider(CUDA))


def test_the_processor_s_session_has_just_that_provider() -> None:
    assert provider_rows(Provider()) == [("CPUExecutionProvider", {})]
    backend = OnnxBackend(detector_onnx())
    assert backend._session.get_providers() == ["CPUExecutionProvider"]
    assert backend.engine == engine_version(CPU) == f"onnxruntime {onnxruntime.__version__}"


def test_tensorrt_gets_its_cache_and_flags() -> None:
    (first, options), *rest = provider_rows(Provider(TENSORRT, Path("/cache"), fp16=True))
    assert first == "TensorrtExecutionProvider"
    assert options == {
        "trt_fp16_enable": "True",
        "trt_int8_enable": "False",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": "/cache",
    }
    assert [name for name, _ in rest] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert "trt_engine_cache_path" not in provider_rows(Provider(TENSORRT, int8=True))[0][1]


def test_a_profile_s_options_reach_its_providers_and_never_choose_the_arithmetic() -> None:
    jetson = engine_options(load_profile("jetson-orin-nano"))
    rows = dict(provider_rows(Provider(TENSORRT, options=jetson.providers)))
    assert rows["TensorrtExecutionProvider"]["trt_max_workspace_size"] == str(1 << 30)
    assert rows["TensorrtExecutionProvider"]["trt_fp16_enable"] == "False"
    assert rows["CUDAExecutionProvider"] == {"cudnn_conv_algo_search": "HEURISTIC"}
    overruled = Provider(TENSORRT, fp16=True, options={TENSORRT: {"trt_fp16_enable": "False"}})
    assert provider_rows(overruled)[0][1]["trt_fp16_enable"] == "True"
    assert provider_rows(Provider(options=jetson.providers)) == [("CPUExecutionProvider", {})]


def test_a_preferred_backend_is_taken_where_it_is_there() -> None:
    jetson = engine_options(load_profile("jetson-orin-nano"))
    assert jetson.backends[0] is TENSORRT
    # Here only the processor is there, and the preference says so without an error.
    assert backends_for(Format.ONNX, jetson) == (CPU,)
    assert open_backend(Format.ONNX, detector_onnx(), options=jetson).engine == engine_version(CPU)
    assert open_backend(Format.TFLITE, detector_tflite(), options=jetson).engine.startswith("LiteRT ")


def test_a_preferred_backend_that_is_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    assert backends_for(Format.ONNX) == (CPU, CUDA, TENSORRT)
    jetson = engine_options(load_profile("jetson-orin-nano"))
    assert backends_for(Format.ONNX, jetson) == (TENSORRT, CUDA, CPU)
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(BackendError, match="could not start TensorrtExecutionProvider"),
    ):
        open_backend(Format.ONNX, detector_onnx(), options=jetson, precision=Precision.INT8)


def test_nobody_gets_an_accelerator_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    assert open_backend(Format.ONNX, detector_onnx()).engine == engine_version(CPU)


def test_a_backend_of_the_other_format_is_refused() -> None:
    with pytest.raises(BackendError, match="does not run tflite variants; those run on litert-xnnpack"):
        open_backend(Format.TFLITE, detector_tflite(), name=CPU)
    with pytest.raises(BackendError, match="does not run onnx variants"):
        open_backend(Format.ONNX, detector_onnx(), name=BackendName.LITERT_XNNPACK)


def test_a_delegate_nobody_named() -> None:
    with pytest.raises(BackendError, match="no delegate library was named"):
        open_backend(Format.TFLITE, detector_tflite(), name=BackendName.LITERT_DELEGATE)
    gone = EngineOptions(delegate=Delegate(Path("/nowhere.so")))
    assert BackendName.LITERT_DELEGATE not in backends_for(Format.TFLITE, gone)
    with pytest.raises(BackendError, match=r"there is no delegate library /nowhere.so"):
        open_backend(Format.TFLITE, detector_tflite(), name=BackendName.LITERT_DELEGATE, options=gone)


def test_wishes_survive_the_way_to_another_process() -> None:
    told = {CUDA: {"gpu_mem_limit": "1024"}}
    delegate = Delegate(Path("/d.so"), {"device": "usb:0"})
    wishes = EngineOptions((TENSORRT, CPU), delegate, Path("/cache"), xnnpack=False, providers=told)
    assert options_from_json(options_as_json(wishes)) == wishes
    assert options_from_json(options_as_json(EngineOptions())) == EngineOptions()


def test_words_of_the_owner_are_read_strictly() -> None:
    assert engine_options(None, Path("/d.so"), ["device=usb:0", "x="]).delegate == Delegate(
        Path("/d.so"), {"device": "usb:0", "x": ""}
    )
    for told in (["device"], ["=usb"]):
        with pytest.raises(BackendError, match="write key=value"):
            engine_options(None, Path("/d.so"), told)
    with pytest.raises(BackendError, match="mean nothing without its library"):
        engine_options(None, None, ["device=usb:0"])
    with pytest.raises(BackendError, match="no backend is called 'onnx'; there are onnxruntime-cpu"):
        read_backend_name("onnx")


def test_the_owner_may_switch_xnnpack_off() -> None:
    plain = open_backend(Format.TFLITE, detector_tflite(), options=EngineOptions(xnnpack=False))
    assert "nothing delegated" in plain.engine
    assert "nothing delegated" not in open_backend(Format.TFLITE, detector_tflite()).engine
