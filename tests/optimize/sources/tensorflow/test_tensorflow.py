"""Keras, SavedModel and TFLite files: what comes of good ones, and one clear message for each that cannot be used."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tiny_models import write_photos

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import ClassifyDecode, Layout, ResizeMode
from edgewright.cli.main import main
from edgewright.optimize import tflite_forms
from edgewright.optimize.converters.borrowed import Names, Route, convert_tensorflow
from edgewright.optimize.errors import ConversionError, ModelError, SpecError
from edgewright.optimize.passes.runner import largest_difference, run_onnx
from edgewright.optimize.sources import FloatModel, load_source
from edgewright.optimize.sources.tf import formats
from edgewright.optimize.sources.tf.formats import TfFormat
from edgewright.optimize.sources.tf.names import GraphNames
from edgewright.optimize.sources.tf.reader import read_by_tensorflow
from edgewright.optimize.spec import ClassifierOptions
from edgewright.runtime.backends.litert import LiteRtBackend
from edgewright.runtime.preprocess import Preprocessor

PIXELS = ClassifierOptions(scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize=ResizeMode.STRETCH)


@pytest.fixture(scope="module")
def load(models: Path) -> Callable[[str], FloatModel]:
    """Loads a good model, once."""

    @cache
    def loaded(file: str) -> FloatModel:
        frame = np.random.default_rng(4).integers(0, 256, (24, 32, 3)).astype(np.uint8)
        return load_source(str(models / file), spec=PIXELS, images=[frame])

    return loaded


@pytest.mark.parametrize(
    ("file", "kind", "output"),
    [
        ("good.keras", "Keras model", "scores"),
        ("good_saved_model", "SavedModel", "output_0"),
        ("good.tflite", "TFLite model", "output_0"),
    ],
)
def test_three_forms_of_one_network(load: Callable[[str], FloatModel], file: str, kind: str, output: str) -> None:
    loaded = load(file)
    # Channels last goes in, channels first comes out, and nobody was asked.
    assert loaded.spec.layout is Layout.NCHW
    assert (loaded.inputs[0].name, loaded.inputs[0].shape) == ("picture", (1, 3, 12, 16))
    assert [(tensor.name, tensor.shape) for tensor in loaded.outputs] == [(output, (1, 5))]
    assert isinstance(loaded.spec.decode, ClassifyDecode)
    assert loaded.spec.decode.scores == output
    assert loaded.notes[0].startswith(f"{kind} read by TensorFlow 2.")
    assert {"tensorflow-cpu", "tf2onnx", "onnx"} <= set(loaded.tools)
    assert len(loaded.source_sha256) == 64

    # The reference is TensorFlow's own answer; it is what the ONNX file gives for the same frames.
    assert len(loaded.reference) == len(loaded.feeds) == 4
    assert loaded.max_difference is not None
    assert loaded.max_difference < 1e-5
    again = largest_difference(loaded.reference, run_onnx(loaded.model, loaded.feeds))
    assert again == pytest.approx(loaded.max_difference)

    # The scaling of Rescaling(1 / 127.5, -1) is the device's now, batch norms are in the convolutions.
    assert loaded.spec.preprocess.scale == pytest.approx(1 / 127.5)
    assert loaded.spec.preprocess.mean == pytest.approx((1.0, 1.0, 1.0))
    operators = Counter(node.op_type for node in onnx.load_model_from_string(loaded.model).graph.node)
    assert operators["Conv"] == 4
    assert not set(operators) & {"Transpose", "BatchNormalization", "Mul", "Sub", "Div"}


def test_the_device_computes_what_keras_computed(models: Path, load: Callable[[str], FloatModel]) -> None:
    loaded = load("good.keras")
    expected = np.load(models / "expected.npz")
    preprocess = Preprocessor(loaded.spec.preprocess, loaded.inputs[0])
    for picture, scores in zip(expected["pictures"].astype(np.uint8), expected["outputs"], strict=True):
        # expected.npz was made from fractions of grey levels; the camera has whole ones.
        found = run_onnx(loaded.model, [{"picture": preprocess(picture[..., ::-1].copy())[0].copy()}])[0][0][0]
        assert np.abs(found - scores).max() < 0.05
        assert found.argmax() == scores.argmax()


WORDS = {
    "recurrent.keras": "node 'functional.*simple_rnn.*, control flow.*recurrent layers",
    "grey.keras": r"input 'picture' is \(\?, 12, 16, 1\); a colour picture with 3 channels",
    "uint8.keras": "input 'picture' is uint8; only float32",
    "open.keras": r"height of input 'picture' is open .*--size",
    "flat.keras": "a picture of four axes",
    "two.keras": "has 2 inputs",
    "loop": "While, control flow",
    "python": "PyFunc, which reaches outside",
    "file": "ReadFile, which reaches outside",
    "gamma": "is Igamma, for which there is no ONNX operator; rewrite",
    "batch": "takes a batch of 4 pictures",
    "unsigned": "has no signature 'serving_default' .it has none",
    "dynamic.tflite": "is quantized already: tensor .* is int8.*give the float model",
    "int8.tflite": "is quantized already: tensor .* is int8.*give the float model",
    "float16.tflite": "keeps weights as float16.*give the float32 model",
    "loop.tflite": "uses WHILE, control flow",
    "cut.pb": "is not a TensorFlow graph, or is cut short",
    "empty.pb": "holds no nodes",
    "graph.pb##": "--graph-inputs NODE:0.*starts at image and ends at .*Identity",
    "graph.pb#nothing#raw_scores": "has no node 'nothing'; the graph starts at image",
    "graph.pb#image#raw_scores": "input 'image:0' is uint8.*--graph-inputs",
    "graph.pb#as_float#final": "node 'while/.* is Enter, control flow.*--graph-outputs .in front of its non-maximum suppression",
    "graph.pb#raw_scores#as_float": "outputs do not depend on raw_scores:0",
    "huge.pb#as_float#added": "constant 'huge' takes the graph beyond",
    "strange.pb#as_float#strange": "node 'strange' is NoSuchOp, an operator that TensorFlow does not have",
}


@pytest.mark.parametrize("name", list(WORDS))
def test_refused_by_what_is_in_the_graph(refusals: dict[str, str], name: str) -> None:
    assert set(WORDS) == set(refusals)
    assert re.search(WORDS[name], refusals[name]), refusals[name]
    assert name.partition("#")[0] in refusals[name]


@pytest.fixture
def keras_file(models: Path, tmp_path: Path) -> Path:
    """A copy of the good file, to be damaged."""
    return Path(shutil.copy(models / "good.keras", tmp_path / "model.keras"))


def with_config(path: Path, change: dict[str, str]) -> None:
    """Writes the archive again, with words of its configuration exchanged."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members["config.json"].decode()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    members["config.json"] = text.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(Path.unlink, "does not exist", id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), "is empty", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"text"), r"not a \.keras file, or is cut short", id="text"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:900]), "cut short", id="cut"),
        pytest.param(
            lambda path: with_config(path, {'"keras.layers"': '"os.path"'}),
            "module 'os.path', not of Keras",
            id="module",
        ),
        pytest.param(
            lambda path: with_config(path, {'"class_name": "Rescaling"': '"class_name": "TFSMLayer"'}),
            "is a TFSMLayer, which carries code",
            id="foreign graph",
        ),
    ],
)
def test_refused_before_tensorflow_starts(keras_file: Path, damage, words: str) -> None:
    damage(keras_file)
    with pytest.raises(ModelError, match=words) as caught:
        load_source(str(keras_file), spec=PIXELS)
    assert str(keras_file) in str(caught.value)


def test_code_in_a_keras_file_is_never_run(models: Path) -> None:
    with pytest.raises(ModelError, match=r"layer 'lambda' is a Lambda, which carries code.*model\.export"):
        load_source(str(models / "lambda.keras"), spec=PIXELS)
    with pytest.raises(ModelError, match=r"custom class 'ours>Twice'.*model\.export|not of Keras.*model\.export"):
        load_source(str(models / "custom.keras"), spec=PIXELS)


def test_members_outside_of_the_archive(keras_file: Path) -> None:
    with zipfile.ZipFile(keras_file, "a") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(ModelError, match="points outside"):
        load_source(str(keras_file), spec=PIXELS)


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional"}))
        archive.writestr("model.weights.h5", bytes(2 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match="unpacks to 2097.* bytes"):
        load_source(str(path), spec=PIXELS)
    monkeypatch.setattr(formats, "MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="at most 1000 are read"):
        load_source(str(path), spec=PIXELS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("old.h5", r"old HDF5 form.*model\.save\('MODEL\.keras'\)"),
        ("folder/saved_model.pb", "name its folder: folder"),
        ("missing.tflite", "does not exist; give the path of a TFLite model"),
        ("missing.pb", "does not exist; give the path of a TensorFlow frozen graph"),
    ],
)
def test_paths_that_need_no_file(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_source(name, spec=PIXELS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flex.tflite", "uses FlexDilation2D, a TensorFlow .flex. operator that LiteRT on a device does not have"),
        ("custom.tflite", "uses Igamma, a custom operator that LiteRT on a device does not have"),
        ("cut.tflite", "the TFLite file is damaged"),
        ("noise.tflite", "the TFLite file is damaged"),
    ],
)
def test_tflite_files_refused_before_tensorflow_starts(models: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_source(str(models / name), spec=PIXELS)
    assert name in str(caught.value)


def test_a_tflite_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "picture.tflite"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 20)
    with pytest.raises(ModelError, match="not a TFLite file"):
        load_source(str(path), spec=PIXELS)


def test_links_out_of_a_saved_model(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    shutil.copytree(models / "good_saved_model", folder)
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "words.txt").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="is a link"):
        load_source(str(folder), spec=PIXELS)


def test_cuts_belong_to_frozen_graphs(models: Path) -> None:
    with pytest.raises(SpecError, match="--graph-inputs and --graph-outputs cut a TensorFlow frozen graph"):
        load_source(str(models / "good.keras"), spec=PIXELS, graph=GraphNames(("x",), ("y",)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (("a", "b"), ("c",), "names 2 tensors; a model with one picture input"),
        (("a",), ("c", "c:0"), "names a tensor twice"),
        (("a b",), ("c",), "is no tensor of a TensorFlow graph"),
        (("a",), ("c:x",), "is no tensor of a TensorFlow graph"),
    ],
)
def test_names_of_tensors(inputs: tuple[str, ...], outputs: tuple[str, ...], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        GraphNames(inputs, outputs)
    assert GraphNames(("scope/node",), ("out:1",)) == GraphNames(("scope/node:0",), ("out:1",))


@pytest.mark.parametrize("package", ["tensorflow", "tf2onnx"])
def test_without_the_extra(
    models: Path, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}, which reads it.*pip install 'edgewright\[tensorflow\]'"):
        load_source(str(models / "good.keras"), spec=PIXELS)
    picture = tmp_path / "pictures"
    picture.mkdir()
    for index in range(8):
        cv2.imwrite(str(picture / f"{index}.png"), np.full((12, 16, 3), index * 20, np.uint8))
    arguments = ["optimize", str(models / "good.keras"), "--task", "classify", "--calibrate", str(picture)]
    assert main([*arguments, "-o", str(tmp_path / "out.edge")]) == 5
    assert "pip install 'edgewright[tensorflow]'" in capsys.readouterr().err


def test_a_reading_process_that_dies_is_an_error_of_the_model(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(models / "broken"))
    (models / "broken").mkdir(exist_ok=True)
    (models / "broken" / "tensorflow.py").write_text("import os\nos.abort()\n")
    with (
        pytest.raises(ModelError, match=r"process that read .*good\.keras ended with status -6"),
        read_by_tensorflow(models / "good.keras", TfFormat.KERAS, GraphNames(), None),
    ):
        pytest.fail("it cannot have been read")


def test_a_file_says_nothing_about_its_numbers_and_nothing_is_left_behind(models: Path) -> None:
    before = dict(os.environ)
    with pytest.raises(SpecError, match=r"'output_0'.*--task classify.*--spec FILE\.toml"):
        load_source(str(models / "good.tflite"))
    assert dict(os.environ) == before
    assert "tensorflow" not in sys.modules


def test_scaling_at_the_front_of_a_keras_model_is_left_out(models: Path) -> None:
    expected = np.load(models / "expected.npz")
    scaled = (expected["pictures"] / 127.5 - 1).astype(np.float32)
    made = convert_tensorflow(models / "good.keras", scaled, Names("picture", ("scores",)))
    assert made.route is Route.TENSORFLOW
    assert made.integer_model is not None
    spread = float(np.ptp(expected["outputs"]))
    for file, tolerance in ((made.float_model, 1e-5), (made.integer_model, 0.1)):
        backend = LiteRtBackend(file)
        (spec,), (output,) = backend.inputs, backend.outputs
        for picture, wanted in zip(scaled, expected["outputs"], strict=True):
            given = picture[None]
            if spec.scale is not None and spec.zero_point is not None:
                # Pictures in [-1, 1] set the grid of the input: the layer that scaled is not there.
                assert spec.scale < 0.01
                given = np.clip(np.rint(given / spec.scale) + spec.zero_point, -128, 127).astype(np.int8)
            found = backend.run({spec.name: given})[output.name].astype(np.float32)
            if output.scale is not None and output.zero_point is not None:
                found = (found - output.zero_point) * output.scale
            assert np.abs(found[0] - wanted).max() < tolerance * spread


def test_scaling_in_a_saved_model_is_refused_with_the_remedy(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConversionError("operator 'Einsum' of node 'mix': this writer does not know the operator")

    monkeypatch.setattr(tflite_forms, "write_tflite", refuse)
    write_photos(tmp_path / "photos", 12, film=False)
    words = ["optimize", str(models / "good_saved_model"), "--task", "classify", "--resize", "stretch", "--scale", "1"]
    words += ["--mean", "0", "0", "0", "--std", "1", "1", "1", "--calibrate", str(tmp_path / "photos")]
    words += ["-o", str(tmp_path / "a.edge"), "--formats", "tflite", "--passes", "minmax", "--runs", "20"]
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "differs from the float graph by" in said
    assert "save it without that scaling (Keras: Rescaling, Normalization)" in said
    assert "--scale, --mean and --std" in said
    assert "--formats onnx" in said
    assert not (tmp_path / "a.edge").exists()
