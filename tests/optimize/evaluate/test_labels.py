"""Labels: what is read, and what is refused by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tiny_models import write_clip, write_labels, write_photos

from edgewright.optimize.data.labels import labelled_samples, load_box_labels, load_class_labels
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", 12))


def test_frames_of_a_video_are_found_by_their_number(clip: str, tmp_path: Path) -> None:
    labels = load_box_labels(write_labels(tmp_path / "labels.json", range(2, 12, 4)), ("other", "spot"))
    rows = list(labelled_samples(labels, open_samples(clip)))
    assert [(sample.index, frame.file_name) for sample, frame in rows] == [
        (2, "clip_000002.png"),
        (6, "clip_000006.png"),
        (10, "clip_000010.png"),
    ]
    assert rows[0][1].truth.class_ids.tolist() == [1]  # type: ignore[union-attr]
    assert rows[0][1].truth.boxes.tolist() == [[48, 0, 72, 16]]  # type: ignore[union-attr]


def test_ignore_is_kept_whatever_it_is_called(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.json", range(3))
    data = json.loads(path.read_text())
    data["annotations"][0]["ignore"] = 1
    data["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(data))
    frames = load_box_labels(path, ("spot",)).frames
    assert [frame.truth.ignore.tolist() for frame in frames] == [[True], [True], [False]]  # type: ignore[union-attr]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        data = json.loads(write_labels(path, range(2)).read_text())
        change(data)
        path.write_text(json.dumps(data))
        return path

    return make


def text(content: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_text(content)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(text("{"), "not a COCO label file", id="no JSON"),
        pytest.param(text("[]"), "not a COCO label file", id="a list"),
        pytest.param(text('{"images": []}'), "not a COCO label file", id="parts missing"),
        pytest.param(edit(lambda d: d["annotations"].clear()), "holds no boxes", id="no boxes"),
        pytest.param(edit(lambda d: d["categories"][0].update(name="dog")), "labels dog, which", id="unknown class"),
        pytest.param(edit(lambda d: d["images"].pop()), "does not list", id="box without picture"),
        pytest.param(
            edit(lambda d: d["annotations"][0].update(bbox=[90, 0, 20, 20])), "outside the picture", id="box outside"
        ),
        pytest.param(edit(lambda d: d["annotations"][0].update(bbox=[1, 2])), "not a COCO label file", id="half a box"),
        pytest.param(
            edit(lambda d: [entry.update(ignore=1) for entry in d["annotations"]]),
            "every box of .* is marked ignore",
            id="nothing counts",
        ),
        pytest.param(
            edit(lambda d: d["annotations"][0].update(bbox=[float("nan"), 0, 20, 20])), "finite numbers", id="NaN"
        ),
        pytest.param(
            edit(lambda d: d["annotations"][0].update(bbox=[0, 0, float("inf"), 20])), "finite numbers", id="infinite"
        ),
        pytest.param(lambda p: p, "cannot be read", id="no file"),
    ],
)
def test_bad_box_labels(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        load_box_labels(make(tmp_path / "labels.json"), ("spot",))


@pytest.mark.parametrize(
    ("indices", "size", "message"),
    [
        pytest.param(range(8, 16), (96, 64), "4 of 8 labelled pictures are not in .*000012", id="frames past the end"),
        pytest.param(range(2), (640, 480), "is 640x480 pixels, .* is 96x64", id="another size"),
    ],
)
def test_labels_of_other_pictures(
    clip: str, tmp_path: Path, indices: range, size: tuple[int, int], message: str
) -> None:
    labels = load_box_labels(write_labels(tmp_path / "labels.json", indices, size=size), ("spot",))
    if size != (96, 64):
        # Boxes were made for the small frame, so only the size is wrong.
        assert labels.frames[0].size == size
    with pytest.raises(LabelsError, match=message):
        list(labelled_samples(labels, open_samples(clip)))


def test_two_labels_for_one_frame(clip: str, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.json", range(2))
    data = json.loads(path.read_text())
    data["images"][1]["file_name"] = "other_0.png"
    path.write_text(json.dumps(data))
    with pytest.raises(LabelsError, match="twice"):
        list(labelled_samples(load_box_labels(path, ("spot",)), open_samples(clip)))


def test_classes_that_label_nothing_do_not_matter(tmp_path: Path) -> None:
    path = edit(lambda d: d["categories"].append({"id": 90, "name": "toothbrush"}))(tmp_path / "labels.json")
    assert len(load_box_labels(path, ("spot",)).frames) == 2


def test_two_classes_of_one_name(tmp_path: Path) -> None:
    names = ("spot", "crane", "Spot")
    with pytest.raises(LabelsError, match=r"2 classes of that name; use the number \(0 and 2\)"):
        load_box_labels(write_labels(tmp_path / "labels.json", range(2)), names)
    frames = load_box_labels(write_labels(tmp_path / "labels.json", range(2), name="2"), names).frames
    assert frames[0].truth.class_ids.tolist() == [2]  # type: ignore[union-attr]
    (tmp_path / "labels.csv").write_text("a.png,spot\n")
    with pytest.raises(LabelsError, match="use the number"):
        load_class_labels(tmp_path / "labels.csv", names)


def test_a_name_that_two_folders_hold(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write_photos(tmp_path / "photos" / place, 1)
    (tmp_path / "labels.csv").write_text("photo-000.png,red\n")
    labels = load_class_labels(tmp_path / "labels.csv", NAMES)
    with pytest.raises(LabelsError, match="2 pictures of .* have that name; write the folder before it"):
        list(labelled_samples(labels, open_samples(str(tmp_path / "photos"))))


NAMES = ("red", "green", "blue")


def test_classes_from_folders(tmp_path: Path) -> None:
    write_photos(tmp_path, 6, by_class=True)
    labels = load_class_labels(tmp_path, NAMES)
    rows = list(labelled_samples(labels, open_samples(str(tmp_path))))
    assert {(sample.name.split("/")[0], frame.truth) for sample, frame in rows} == {
        ("red", 0),
        ("green", 1),
        ("blue", 2),
    }


@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        ("photo-000.png,red\nphoto-001.png,Green\n", [0, 1]),
        ("file,label\nphoto-000.png,2\nphoto-001.png,0\n", [2, 0]),
    ],
)
def test_classes_from_csv(tmp_path: Path, rows: str, classes: list[int]) -> None:
    write_photos(tmp_path / "photos", 3)
    (tmp_path / "labels.csv").write_text(rows)
    labels = load_class_labels(tmp_path / "labels.csv", NAMES)
    found = list(labelled_samples(labels, open_samples(str(tmp_path / "photos"))))
    assert [frame.truth for _, frame in found] == classes


def test_numbers_serve_a_model_without_names(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a.png,281\n")
    assert load_class_labels(tmp_path / "labels.csv", ()).frames[0].truth == 281


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,purple\n", "labelled 'purple', which the model does not know"),
        ("a.png,7\n", "labelled '7'"),
        ("a.png\n", "1 columns"),
        ("", "labels no pictures"),
        ("file,label\n", "labels no pictures"),
    ],
)
def test_bad_class_labels(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(LabelsError, match=message):
        load_class_labels(tmp_path / "labels.csv", NAMES)


def test_labelled_picture_that_is_not_there(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "labels.csv").write_text("photo-000.png,red\nlost.png,blue\n")
    with pytest.raises(LabelsError, match=r"1 of 2 labelled pictures are not in .*lost\.png"):
        list(
            labelled_samples(load_class_labels(tmp_path / "labels.csv", NAMES), open_samples(str(tmp_path / "photos")))
        )
