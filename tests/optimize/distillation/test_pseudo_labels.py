"""A teacher labels pictures: more people on tiles than in the whole frame, and a file that training sets take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from examples.person.model import factory
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.labels import load_box_labels
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.distillation import PseudoSettings, TorchSession, find_pseudo_labels
from edgewright.optimize.distillation.pseudo_labels import find_boxes
from edgewright.optimize.distillation.tiles import Tile, look_on_tiles, tiles_of
from edgewright.optimize.errors import DataError, SpecError
from edgewright.optimize.spec import SourceModel
from edgewright.optimize.training.sets import Distort, PictureSet, TrainingData, open_training_set
from edgewright.runtime.overlap import iou_matrix
from edgewright.runtime.types import Classification, Detections


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Bright:
    """Sees bright blocks, of a size that it can make out only where they fill enough of the picture; one a column."""

    score_threshold = 0.5

    def __init__(self, least: float = 0.0, score: float = 0.9) -> None:
        self.least, self.score = least, score
        self.looks = 0

    def infer(self, image: np.ndarray, score_threshold: float | None = None) -> Detections:
        self.looks += 1
        bright = image[..., 0] > 128
        found, run = [], None
        columns = bright.any(0)
        for x in range(len(columns) + 1):
            on = x < len(columns) and columns[x]
            if on and run is None:
                run = x
            if not on and run is not None:
                rows = np.flatnonzero(bright[:, run:x].any(1))
                if x - run >= self.least * image.shape[1]:
                    found.append((run, rows[0], x, rows[-1] + 1))
                run = None
        boxes = np.array(found, np.float32).reshape(-1, 4)
        return Detections(boxes, np.full(len(boxes), self.score, np.float32), np.zeros(len(boxes), np.int64))


def frame(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros((120, 200, 3), np.uint8)
    for x1, y1, x2, y2 in blocks:
        image[y1:y2, x1:x2] = 255
    return image


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 900),
    height=st.integers(1, 900),
    grid=st.integers(1, 6),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_tiles_cover_the_picture_and_stay_in_it(width: int, height: int, grid: int, overlap: float) -> None:
    seen = np.zeros((height, width), np.bool_)
    for tile in tiles_of(width, height, grid, overlap):
        assert 0 <= tile.left < tile.right <= width
        assert 0 <= tile.top < tile.bottom <= height
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()
    assert tiles_of(width, height, 1, overlap) == (Tile(0, 0, width, height),)


def test_what_a_tile_cuts_off_is_not_taken_for_a_whole_object() -> None:
    block = (90, 40, 110, 70)
    left, right = Tile(0, 0, 100, 120), Tile(60, 0, 200, 120)
    halves = look_on_tiles(Bright(), frame(block), [left], 0.3, border=0.02)
    assert len(halves) == 0
    whole = look_on_tiles(Bright(), frame(block), [left, right], 0.3, border=0.02)
    assert whole.boxes.tolist() == [list(block)]
    # At the picture's own edge nothing is cut off by a tile.
    assert len(look_on_tiles(Bright(), frame((0, 40, 10, 70)), [left], 0.3, border=0.02)) == 1


def test_small_objects_are_found_on_tiles_and_once_only() -> None:
    blocks = [(20, 20, 28, 40), (96, 50, 104, 70), (150, 80, 158, 100)]
    look = Bright(least=0.06)
    assert len(find_boxes(look, frame(*blocks), PseudoSettings(grids=(1,)))) == 0
    found = find_boxes(look, frame(*blocks), PseudoSettings(grids=(1, 2, 3)))
    assert sorted(found.boxes.tolist()) == [list(map(float, block)) for block in blocks]
    assert look.looks == 1 + 1 + 4 + 9


def test_what_a_finer_look_does_not_confirm_is_doubtful() -> None:
    class Dreams(Bright):
        def infer(self, image: np.ndarray, score_threshold: float | None = None) -> Detections:
            seen = super().infer(image, score_threshold)
            return seen if image.shape[1] == 200 else Detections.empty()

    small, large = (20, 20, 40, 40), (60, 5, 190, 115)
    found = find_boxes(Dreams(), frame(small, large), PseudoSettings(grids=(1, 2)))
    scores = dict(zip(map(tuple, found.boxes.tolist()), found.scores.tolist(), strict=True))
    assert scores[small] < 0.5  # a quarter of the picture would have shown it
    assert scores[large] == pytest.approx(0.9)  # no tile shows it whole


@pytest.fixture(scope="module")
def detector(samples: Path) -> SourceModel:
    return factory(samples / "frozen_inference_graph.pb")


def test_the_person_detector_finds_more_people_on_tiles_and_they_are_people(
    detector: SourceModel, clip: str, person_labels: Path
) -> None:
    look = TorchSession(detector)
    labels = {row.file_name: row.truth for row in load_box_labels(person_labels, ("person",)).frames}
    hits = {1: 0, 3: 0}
    wrong = 0
    for index in (111,):
        image = next(iter(open_samples(f"{clip}#{index}"))).image
        truth = labels[f"vtest_{index:06d}.png"]
        assert not isinstance(truth, int)
        for grid in hits:
            found = find_boxes(look, image, PseudoSettings(grids=tuple(range(1, grid + 1))))
            sure = found.select(found.scores >= 0.5)
            overlap = iou_matrix(truth.boxes, sure.boxes)
            hits[grid] += int((overlap.max(axis=1, initial=0) >= 0.5).sum())
            if grid == 3:
                wrong += int((overlap.max(axis=0, initial=0) < 0.3).sum())
    assert hits[3] >= hits[1] + 2
    assert wrong <= 2


def test_a_torch_session_sees_what_the_decoder_sees(detector: SourceModel, clip: str) -> None:
    image = next(iter(open_samples(f"{clip}#301"))).image
    whole = TorchSession(detector).infer(image)
    assert isinstance(whole, Detections)
    assert 3 <= len(whole) <= 9
    assert (whole.scores >= 0.5).all()
    assert find_boxes(TorchSession(detector), image, PseudoSettings(grids=(1,), doubtful=0.5)).boxes.tolist()[0] in (
        whole.boxes.tolist()
    )


def test_the_file_is_read_back_as_labels_of_a_training_set(tmp_path: Path) -> None:
    clip = tiny_models.write_clip(tmp_path / "clip.avi", 6)
    images = [sample.image for sample in open_samples(str(clip))]
    judged = frozenset({frame_digest(images[4])})
    made = find_pseudo_labels(Bright(), open_samples(f"{clip}#0::2"), ("spot",), exclude=judged)
    assert [row.name for row in made.pictures] == ["clip_000000.png", "clip_000002.png"]
    assert any("1 pictures" in note for note in made.notes)
    assert made.certain >= 2
    made.write(tmp_path / "labels.json")
    written = json.loads((tmp_path / "labels.json").read_text())
    assert {row["score"] for row in written["annotations"]} == {0.9}
    from edgewright.bundle.manifest import Preprocess, ResizeMode, SsdDecode, Task
    from edgewright.optimize.spec import ModelSpec

    decode = SsdDecode("codes", "logits", "a.npy")
    spec = ModelSpec(
        "x", Task.DETECT, Preprocess(ResizeMode.STRETCH, 32, 32), decode, ("spot",), {"a.npy": tiny_models.anchors()}
    )
    data = TrainingData(f"{clip}#0::2", tmp_path / "labels.json", Distort.none())
    taken = open_training_set(data, spec, judged)
    assert isinstance(taken, PictureSet)
    assert taken.boxes is not None
    for boxes, found in zip(taken.boxes, made.pictures, strict=True):
        assert boxes is not None
        wanted = found.found.boxes / np.array([96, 64, 96, 64], np.float32)
        np.testing.assert_allclose(boxes.corners, wanted, atol=1e-3)
        np.testing.assert_allclose(boxes.weights, 0.9, atol=1e-4)


def test_doubtful_boxes_count_neither_way_and_nothing_certain_is_an_error(tmp_path: Path) -> None:
    clip = tiny_models.write_clip(tmp_path / "clip.avi", 2)
    made = find_pseudo_labels(Bright(score=0.4), open_samples(str(clip)), ("spot",))
    assert made.certain == 0
    assert made.doubtful > 0
    assert all(row["ignore"] for row in made.to_coco()["annotations"])
    with pytest.raises(DataError, match="sure of nothing on 2 pictures"):
        made.write(tmp_path / "labels.json")
    assert not (tmp_path / "labels.json").exists()


def test_a_classifier_finds_no_boxes(tmp_path: Path) -> None:
    class Classifies:
        score_threshold = 0.0

        def infer(self, image: np.ndarray, score_threshold: float | None = None) -> Classification:
            return Classification(np.zeros(1, np.int64), np.ones(1, np.float32))

    clip = tiny_models.write_clip(tmp_path / "clip.avi", 2)
    with pytest.raises(SpecError, match="a classifier finds no boxes"):
        find_pseudo_labels(Classifies(), open_samples(str(clip)), ())


@pytest.mark.parametrize(
    "changes", [{"grids": ()}, {"grids": (0,)}, {"overlap": 1.0}, {"doubtful": 0.6}, {"certain": 1.5}, {"nested": -1.0}]
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        PseudoSettings(**changes)
