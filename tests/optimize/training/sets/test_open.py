"""Training sets out of every kind of source: the pixels of the device, the labels of the readers, and honest notes."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tiny_models
import torch
from examples.fashion.data import CLASSES, load_split
from examples.fashion.model import DepthwiseNet
from examples.person.model import person_spec

from edgewright.bundle.manifest import ColorOrder, Layout, Preprocess, ResizeMode, TensorSpec
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import DataError, LabelsError
from edgewright.optimize.spec import ClassifierOptions, classifier_spec, shape_for
from edgewright.optimize.training.sets import Distort, PictureSet, TrainingData, open_training_set
from edgewright.optimize.training.sets.store import PictureStore
from edgewright.optimize.training.types import Boxes
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from edgewright.optimize.spec import ModelSpec

PLAIN = Distort.none()
PRODUCTS = tiny_models.PRODUCTS


def fashion_spec() -> ModelSpec:
    options = ClassifierOptions(resize=ResizeMode.STRETCH, mean=(0.0,) * 3, std=(1.0,) * 3, labels=CLASSES)
    return classifier_spec(options, name="fashion", input_shape=(1, 3, 28, 28), scores="logits")


def photo_spec(labels: tuple[str, ...] = PRODUCTS, **changes: object) -> ModelSpec:
    options = replace(ClassifierOptions(labels=labels, crop_from=36), **changes)
    return classifier_spec(options, name="photos", input_shape=(1, 3, 32, 32), scores="scores")


def opened(data: TrainingData, spec: ModelSpec, exclude: frozenset[bytes] = frozenset()) -> PictureSet:
    made = open_training_set(data, spec, exclude)
    assert isinstance(made, PictureSet)
    return made


def as_the_device_does(spec: ModelSpec, image: np.ndarray) -> np.ndarray:
    tensor = TensorSpec("x", shape_for(spec.preprocess, spec.layout), "float32", spec.layout)
    return Preprocessor(spec.preprocess, tensor)(image)[0].copy()


@pytest.fixture(scope="module")
def fashion(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    split = load_split(samples / "fashion", "t10k")
    path = tmp_path_factory.mktemp("fashion") / "some.npz"
    np.savez(path, images=split.images[:300], labels=split.labels[:300])
    return path


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("color", list(ColorOrder))
@pytest.mark.parametrize(
    ("resize", "crop_from"), [(ResizeMode.STRETCH, None), (ResizeMode.LETTERBOX, None), (ResizeMode.CROP, 40)]
)
def test_an_undistorted_picture_is_exactly_what_the_device_feeds(
    tmp_path: Path, layout: Layout, color: ColorOrder, resize: ResizeMode, crop_from: int | None
) -> None:
    preprocess = Preprocess(
        resize, 36, 30, color, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_from=crop_from
    )
    spec = replace(photo_spec(), preprocess=preprocess, input_shape=shape_for(preprocess, layout))
    folder = tiny_models.write_photos(tmp_path, 5)
    made = opened(TrainingData(str(folder), distort=PLAIN), spec)
    batch = made.batch(np.arange(5), np.random.default_rng(0))
    for row, sample in enumerate(open_samples(str(folder))):
        assert batch.inputs[row].numpy().tobytes() == as_the_device_does(spec, sample.image)[0].tobytes()
    assert batch.classes is None
    assert "none of the 5 training pictures has labels" in made.notes


def test_the_person_detectors_input_is_the_devices(clip: str, person_labels: Path) -> None:
    spec = person_spec()
    made = opened(TrainingData(f"{clip}#33:40:3", person_labels, PLAIN), spec)
    batch = made.batch(np.arange(len(made)), np.random.default_rng(0))
    frames = list(open_samples(f"{clip}#33:40:3"))
    for row, sample in enumerate(frames):
        assert (batch.inputs[row].numpy() == as_the_device_does(spec, sample.image)[0]).all()
    assert batch.boxes is not None
    assert [boxes is not None for boxes in batch.boxes] == [True, False, False]
    truth = [row for row in json.loads(person_labels.read_text())["annotations"] if row["image_id"] == 33]
    boxes = batch.boxes[0]
    assert boxes is not None
    x, y, w, h = np.array([row["bbox"] for row in truth], np.float64).T
    wanted = np.stack([x / 768, y / 576, (x + w) / 768, (y + h) / 576], axis=1).clip(0, 1)
    np.testing.assert_allclose(boxes.corners, wanted, atol=1e-6)
    assert [float(w) for w in boxes.weights] == [0.0 if row.get("ignore") else 1.0 for row in truth]
    assert any("29 labelled pictures" in note and "outside the slice" in note for note in made.notes)
    assert any("2 of 3 training pictures have no labels" in note for note in made.notes)


def test_pictures_of_an_npz_file_come_with_its_labels(fashion: Path) -> None:
    made = opened(TrainingData(f"{fashion}#10:50:4", distort=PLAIN), fashion_spec())
    labels = np.load(fashion)["labels"][10:50:4]
    rows = np.array([3, 0, 7])
    batch = made.batch(rows, np.random.default_rng(0))
    assert batch.classes is not None
    assert batch.classes.tolist() == labels[rows].tolist()
    assert made.labelled == len(made) == 10
    assert (batch.rows == rows).all()
    assert batch.views.tolist() == [0, 0, 0]
    images = np.load(fashion)["images"][10:50:4][rows]
    np.testing.assert_allclose(batch.inputs[:, 1].numpy(), images / 255.0, atol=1e-7)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(6) * 3, r"picture 4 is labelled 12; the model knows 0 to 9"),
        (np.zeros(5, np.int64), r"labels are int64 \(5,\); give one whole number for each of 6 pictures"),
        (np.zeros(6), "labels are float64"),
        (np.array(["a"] * 6, object), "labels cannot be read"),
    ],
)
def test_wrong_labels_of_an_npz_file_are_named(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((6, 28, 28), np.uint8), labels=labels)
    with pytest.raises(LabelsError, match=message):
        open_training_set(TrainingData(str(path)), fashion_spec())


def test_a_folder_of_class_folders_is_its_own_label_file(tmp_path: Path) -> None:
    folder = tiny_models.write_photos(tmp_path, 7, by_class=True)
    made = opened(TrainingData(str(folder), folder), photo_spec())
    assert made.classes is not None
    assert sorted(made.classes.tolist()) == [0, 0, 0, 1, 1, 2, 2]
    assert [PRODUCTS[number] for number in made.classes] == [name.split("/")[0] for name in made.names]
    assert made.notes == ()


def test_a_csv_may_leave_pictures_without_labels(tmp_path: Path) -> None:
    folder = tiny_models.write_photos(tmp_path / "p", 6)
    names = sorted(file.name for file in folder.iterdir())
    (tmp_path / "l.csv").write_text("".join(f"{name},green\n" for name in names[:4]))
    made = opened(TrainingData(str(folder), tmp_path / "l.csv"), photo_spec())
    assert made.classes is not None
    assert made.classes.tolist() == [1, 1, 1, 1, -1, -1]
    assert "2 of 6 training pictures have no labels" in made.notes
    assert "all labels of the training pictures are of one class, 'green'" in made.notes


def test_classes_that_are_never_seen_are_noted(tmp_path: Path) -> None:
    folder = tiny_models.write_photos(tmp_path, 6, by_class=True)
    made = opened(TrainingData(str(folder), folder), photo_spec((*PRODUCTS, "violet")))
    assert made.notes == ("1 classes are never seen in training: violet",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a.png,violet\n",
            "a.png is labelled 'violet', which the model does not know; its labels are red, green, blue",
        ),
        ("a.png,red\nb.png\n", "row 2 has 1 columns"),
        ("c.png,red\n", "1 of 1 labelled pictures are not in .*: c.png"),
    ],
)
def test_wrong_rows_of_a_csv_are_named(tmp_path: Path, rows: str, message: str) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "l.csv").write_text(rows)
    with pytest.raises(
        LabelsError, match=re.escape(str(tmp_path / "l.csv")) + ".*" + message if "row" in message else message
    ):
        open_training_set(TrainingData(str(folder), tmp_path / "l.csv"), photo_spec())


def test_a_slice_without_any_label_is_refused(clip: str, person_labels: Path) -> None:
    with pytest.raises(LabelsError, match="none of the 30 labelled pictures"):
        open_training_set(TrainingData(f"{clip}#0:4:2", person_labels), person_spec())


def test_pictures_that_are_judged_on_are_left_out_whatever_they_are_called(tmp_path: Path) -> None:
    folder = tiny_models.write_photos(tmp_path / "a", 6, by_class=True)
    judged = [sample.image for sample in open_samples(str(tiny_models.write_photos(tmp_path / "b", 2, start=1)))]
    exclude = frozenset(frame_digest(image) for image in judged)
    made = opened(TrainingData(str(folder), folder), photo_spec(), exclude)
    assert len(made) == 4
    assert any("2 pictures" in note and "left out of training" in note for note in made.notes)
    assert made.classes is not None
    assert [PRODUCTS[number] for number in made.classes] == [name.split("/")[0] for name in made.names]
    everything = frozenset(frame_digest(sample.image) for sample in open_samples(str(folder)))
    with pytest.raises(DataError, match="leaves no pictures to train on: all 6 are judged on"):
        open_training_set(TrainingData(str(folder), folder), photo_spec(), everything)


def test_scores_of_pseudo_labels_become_weights(tmp_path: Path) -> None:
    clip = tiny_models.write_clip(tmp_path / "clip.avi", 4)
    labels = tiny_models.write_labels(tmp_path / "l.json", range(3))
    data = json.loads(labels.read_text())
    data["annotations"][1]["score"] = 0.75
    data["annotations"][2] |= {"score": 0.4, "ignore": 1}
    labels.write_text(json.dumps(data))
    made = opened(TrainingData(str(clip), labels, PLAIN), spot_spec())
    assert made.boxes is not None
    assert [None if row is None else row.weights.tolist() for row in made.boxes] == [[1.0], [0.75], [0.0], None]
    data["annotations"][1]["score"] = 7
    labels.write_text(json.dumps(data))
    with pytest.raises(LabelsError, match="annotation 1 has the score 7"):
        open_training_set(TrainingData(str(clip), labels), spot_spec())


def spot_spec() -> ModelSpec:
    base = person_spec()
    arrays = {"arrays/anchors.npy": tiny_models.anchors()}
    preprocess = Preprocess(ResizeMode.STRETCH, 32, 32)
    return replace(base, preprocess=preprocess, labels=("spot",), arrays=arrays, input_shape=(1, 3, 32, 32))


@pytest.mark.parametrize("box", [[90, 10, 50, 10], [10, 10, 0, 10], [5, 60, 10, 50]])
def test_boxes_outside_their_picture_are_named_even_when_the_file_states_no_size(
    tmp_path: Path, box: list[int]
) -> None:
    clip = tiny_models.write_clip(tmp_path / "clip.avi", 3)
    labels = tiny_models.write_labels(tmp_path / "l.json", range(2))
    data = json.loads(labels.read_text())
    for image in data["images"]:
        del image["width"], image["height"]
    data["annotations"][1]["bbox"] = box
    labels.write_text(json.dumps(data))
    with pytest.raises(LabelsError, match="clip_000001.png has the box .* outside the picture"):
        open_training_set(TrainingData(str(clip), labels), spot_spec())


def test_boxes_outside_of_the_cut_are_not_taught(tmp_path: Path) -> None:
    clip = tiny_models.write_clip(tmp_path / "clip.avi", 4)
    labels = tiny_models.write_labels(tmp_path / "l.json", range(4))
    # Of the 96 x 64 frame only the middle 64 x 64 is seen: columns 16 to 80, spots are 24 wide.
    spec = replace(spot_spec(), preprocess=Preprocess(ResizeMode.CROP, 32, 32, crop_from=32))
    made = opened(TrainingData(str(clip), labels, PLAIN), spec)
    assert made.boxes is not None
    rows = [(row.corners[0, [0, 2]].tolist(), row.weights[0]) for row in made.boxes if row is not None]
    assert rows[0] == ([0.0, 0.125], 1.0)  # columns 0 to 24: a third is to be seen
    assert rows[1] == ([0.125, 0.5], 1.0)
    assert rows[3] == ([0.875, 1.0], 1.0)


class Given:
    """A data set as users write them."""

    def __init__(self, *rows: object) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> object:
        made = self.rows[row]
        if isinstance(made, Exception):
            raise made
        return made


def given(monkeypatch: pytest.MonkeyPatch, made: object) -> str:
    module = type(sys)("a_users_data")
    module.pictures = lambda: made
    monkeypatch.setitem(sys.modules, "a_users_data", module)
    return "a_users_data:pictures"


IMAGE = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)


def test_a_factory_may_return_any_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ((IMAGE, 2), (IMAGE[::-1], "green"), (IMAGE[..., 0], None), (IMAGE, np.int32(0)), IMAGE)
    made = opened(TrainingData(given(monkeypatch, Given(*rows)), distort=PLAIN), photo_spec())
    assert made.classes is not None
    assert made.classes.tolist() == [2, 1, -1, 0, -1]
    batch = made.batch(np.array([1]), np.random.default_rng(0))
    assert batch.inputs[0].numpy().tobytes() == as_the_device_does(photo_spec(), IMAGE[::-1].copy())[0].tobytes()


def test_a_torch_dataset_is_such_a_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Data(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
            return IMAGE, row

    assert opened(TrainingData(given(monkeypatch, Data())), photo_spec()).labelled == 3


def test_a_factory_may_return_a_training_set(monkeypatch: pytest.MonkeyPatch, fashion: Path) -> None:
    made = open_training_set(TrainingData(str(fashion)), fashion_spec())
    assert open_training_set(TrainingData(given(monkeypatch, made)), fashion_spec()) is made


BOX = np.array([[0.1, 0.2, 0.5, 0.6]], np.float32)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (7, "returned int, which cannot be asked for by number"),
        (iter([]), "cannot be asked for by number"),
        (Given((IMAGE, 1), 5), r"row 1 is int; it must be \(image, label\)"),
        (Given((IMAGE, 1, 2)), "row 0 is tuple of 3"),
        (Given((IMAGE.astype(np.float32), 1)), r"row 0 has a picture of float32 \(40, 40, 3\)"),
        (Given((IMAGE.transpose(2, 0, 1), 1)), r"uint8 \(3, 40, 40\)"),
        (Given(("a.png", 1)), "row 0 has a picture of type str"),
        (Given((IMAGE, 1.5)), "row 0 has a label of type float"),
        (Given((IMAGE, 3)), "row 0 is labelled 3, which the model does not know"),
        (Given((IMAGE, "violet")), "row 0 is labelled 'violet'"),
        (Given((IMAGE, 1), RuntimeError("disk gone")), "row 1 cannot be read: RuntimeError: disk gone"),
        (Given((IMAGE, Boxes(BOX, np.zeros(1, np.int64), np.ones(1, np.float32)))), "learns from a class"),
        (Given(), "leaves no pictures to train on: there are none"),
    ],
)
def test_nonsense_of_a_factory_is_named(monkeypatch: pytest.MonkeyPatch, made: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_training_set(TrainingData(given(monkeypatch, made)), photo_spec())


@pytest.mark.parametrize(
    ("corners", "classes", "message"),
    [
        (BOX + np.float32(0.6), [0], r"row 0 has the box \[0.7.*parts of the picture's width and height"),
        (BOX[:, [2, 1, 0, 3]], [0], "x1 < x2 and y1 < y2"),
        (BOX, [4], "has a box of class 4"),
        (BOX[0], [0], r"corners \(4,\)"),
    ],
)
def test_wrong_boxes_of_a_factory_are_named(
    monkeypatch: pytest.MonkeyPatch, corners: np.ndarray, classes: list[int], message: str
) -> None:
    boxes = Boxes(corners, np.array(classes), np.ones(len(classes), np.float32))
    with pytest.raises(LabelsError, match=message):
        open_training_set(TrainingData(given(monkeypatch, Given((IMAGE, boxes)))), spot_spec())


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module_here:f", "there is no module 'no_such_module_here'"),
        ("edgewright.optimize.errors:nothing", "has no 'nothing'"),
        ("math:sqrt", "the data factory math:sqrt failed: TypeError"),
    ],
)
def test_a_factory_that_does_not_come_is_named(reference: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_training_set(TrainingData(reference), photo_spec())


def test_beyond_the_bound_pictures_lie_in_a_file_and_are_the_same(fashion: Path) -> None:
    spec = fashion_spec()
    inside = opened(TrainingData(str(fashion), distort=Distort(shift=2)), spec)
    for bound in (100 * 28 * 28 * 3, 0):
        mapped = opened(TrainingData(str(fashion), distort=Distort(shift=2), memory_bytes=bound), spec)
        assert any("temporary file" in note for note in mapped.notes)
        rows = np.array([299, 0, 150, 150])
        ours, theirs = (made.batch(rows, np.random.default_rng(3)) for made in (inside, mapped))
        assert ours.inputs.numpy().tobytes() == theirs.inputs.numpy().tobytes()
        assert inside.digest == mapped.digest


def test_the_digest_tells_pictures_labels_preparation_and_distortion_apart(tmp_path: Path) -> None:
    folder = tiny_models.write_photos(tmp_path / "p", 4)
    names = sorted(file.name for file in folder.iterdir())
    (tmp_path / "l.csv").write_text("".join(f"{name},green\n" for name in names))
    base = TrainingData(str(folder), tmp_path / "l.csv")
    digests = {
        "base": opened(base, photo_spec()).digest,
        "labels": opened(replace(base, labels=None), photo_spec()).digest,
        "pictures": opened(replace(base, source=f"{folder}#:3"), photo_spec()).digest,
        "distortion": opened(replace(base, distort=PLAIN), photo_spec()).digest,
        "preparation": opened(base, photo_spec(mean=(0.5, 0.5, 0.5))).digest,
    }
    assert len(set(digests.values())) == len(digests)
    assert opened(base, photo_spec()).digest == digests["base"]


def test_the_fashion_network_takes_such_a_batch(fashion: Path) -> None:
    made = opened(TrainingData(str(fashion)), fashion_spec())
    assert DepthwiseNet()(made.batch(np.arange(8), np.random.default_rng(0)).inputs).shape == (8, 10)


def test_a_full_disk_is_told_in_words(monkeypatch: pytest.MonkeyPatch, fashion: Path) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115
    with pytest.raises(DataError, match=r"do not fit into .* \(No space left on device\) .*TMPDIR"):
        open_training_set(TrainingData(str(fashion), memory_bytes=0), fashion_spec())


def test_pictures_of_unknown_number_keep_to_the_bound() -> None:
    picture = np.ones((3, 4, 4), np.uint8)
    store = PictureStore(picture.shape, None, memory_bytes=10 * picture.nbytes)
    assert store._rows.nbytes <= 10 * picture.nbytes
    spilled = []
    for _ in range(12):
        store.add(picture)
        spilled.append(store.mapped)
    assert spilled == [False] * 10 + [True] * 2
