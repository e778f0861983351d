"""Which pictures serve what: four roles that share none."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from tiny_models import spot_frame, write_clip, write_labels, write_photos

from edgewright.bundle.manifest import Task
from edgewright.optimize.data.plan import (
    DataChoice,
    agreement_samples,
    calibration_samples,
    open_plan,
    selection_samples,
)
from edgewright.optimize.errors import DataError, LabelsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", 48)


Roles = tuple[list[int], list[int], list[int], list[str]]


def roles_of(choice: DataChoice, task: Task = Task.DETECT, names: tuple[str, ...] = ("spot",)) -> Roles:
    """Frames of calibration, selection and agreement, and all notes."""
    notes: list[str] = []
    plan = open_plan(choice, task, names)
    calibrated = list(calibration_samples(plan, notes.append))
    used = frozenset(digest for _, digest in calibrated)
    chosen = list(selection_samples(plan, notes.append, used))
    selected = frozenset(digest for _, digest in chosen)
    agreed = [sample.index for sample in agreement_samples(plan, used, notes.append, selected)]
    assert not used & selected
    return [s.index for s, _ in calibrated], [s.index for s, _ in chosen], agreed, [*plan.notes, *notes]


def test_three_sources_named(clip: Path) -> None:
    choice = DataChoice(f"{clip}#1::8", select=f"{clip}#5::8", agree=f"{clip}#3::4")
    calibrated, selected, agreed, notes = roles_of(choice)
    assert calibrated == [1, 9, 17, 25, 33, 41]
    assert selected == [5, 13, 21, 29, 37, 45]
    assert agreed == list(range(3, 48, 4))
    assert notes == []


def test_labelled_frames_are_left_out_of_all(clip: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.json", range(0, 48, 3))
    choice = DataChoice(f"{clip}#::4", select=f"{clip}#2::4", agree=f"{clip}#1::2", labels=labels, images=str(clip))
    calibrated, selected, agreed, notes = roles_of(choice)
    assert calibrated == [k for k in range(0, 48, 4) if k % 3]
    assert selected == [k for k in range(2, 48, 4) if k % 3]
    assert agreed == [k for k in range(1, 48, 2) if k % 3]
    assert [note.split(" left out of ")[1] for note in notes] == [
        f"{role}: they are labelled ones" for role in ("calibration", "selection", "agreement")
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agree": "#1::8"}, r"--calibrate .*#1::8 and --agree .*#1::8 share pictures, clip.avi frame 1 for one"),
        ({"agree": "#3::5"}, "clip.avi frame 33 for one"),
        ({"agree": ""}, "frame 1 for one"),
        ({"select": "#::3"}, "--calibrate .* and --select .* frame 9 for one"),
        (
            {"select": "#5::8", "agree": "#13::8"},
            "--select .* and --agree .* frame 13 for one.*#1::8, .*#5::8 and .*#3::4",
        ),
        ({"calibrate": "", "agree": "#::5"}, "frame 0 for one"),
    ],
)
def test_sources_that_overlap_are_refused_at_once(clip: Path, changes: dict[str, str], message: str) -> None:
    choice = DataChoice(f"{clip}#1::8")
    with pytest.raises(DataError, match=message):
        open_plan(replace(choice, **{role: f"{clip}{part}" for role, part in changes.items()}), Task.DETECT, ("spot",))


@pytest.mark.parametrize("agree", ["#5::8", "#2::2", "#42:48:8", "#3:9:1"])
def test_slices_that_never_meet_are_not_refused(clip: Path, agree: str) -> None:
    open_plan(DataChoice(f"{clip}#1::8", agree=f"{clip}{agree}"), Task.DETECT, ("spot",))


def test_one_file_by_two_names_is_refused(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "one", 4)
    (tmp_path / "two").mkdir()
    os.link(photos / "photo-002.png", tmp_path / "two" / "other.png")
    with pytest.raises(DataError, match=r"share pictures, photo-002\.png for one"):
        open_plan(DataChoice(str(photos), agree=str(tmp_path / "two")), Task.CLASSIFY, ())
    with pytest.raises(DataError, match=r"--calibrate .* and --select"):
        open_plan(DataChoice(str(photos), select=f"{photos}#1:2"), Task.CLASSIFY, ())
    open_plan(DataChoice(f"{photos}#:2", select=f"{photos}#2:3", agree=f"{photos}#3:"), Task.CLASSIFY, ())


def test_copied_folders_are_refused(clip: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "one", 4)
    shutil.copytree(photos, tmp_path / "two")
    with pytest.raises(DataError, match=r"0 pictures of .*two left for selection; .* calibration used them \(such as"):
        roles_of(DataChoice(str(photos), select=str(tmp_path / "two"), agree=f"{clip}"), Task.CLASSIFY, ())
    others = write_photos(tmp_path / "three", 4, start=10)
    with pytest.raises(DataError, match=r"left for agreement; .* selection used them"):
        roles_of(DataChoice(str(others), select=str(photos), agree=str(tmp_path / "two")), Task.CLASSIFY, ())


def test_a_few_repeated_frames_are_no_error(tmp_path: Path) -> None:
    """A still camera: three frames of the film show the same as an earlier one."""
    for name, seeds in (("a", [1, 2, 3, 4, 5]), ("b", [6, 7, 8, 1]), ("c", [9, 10, 11, 12, 2, 6])):
        for number, seed in enumerate(seeds):
            (tmp_path / name).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / name / f"{number}.png"), spot_frame(seed))
    choice = DataChoice(str(tmp_path / "a"), select=str(tmp_path / "b"), agree=str(tmp_path / "c"))
    calibrated, selected, agreed, notes = roles_of(choice)
    assert (len(calibrated), len(selected), len(agreed)) == (5, 3, 4)
    assert [note for note in notes if "left out" in note] == [
        "1 picture of b left out of selection: calibration used them",
        "1 picture of c left out of agreement: calibration used them",
        "1 picture of c left out of agreement: selection used them",
    ]


def test_unrelated_pictures_are_dealt_in_turn(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12, film=False)
    others = write_photos(tmp_path / "others", 4, start=50, film=False)
    calibrated, selected, agreed, notes = roles_of(DataChoice(str(photos), agree=str(others)), Task.CLASSIFY, ())
    assert selected == [2, 5, 8, 11]
    assert calibrated == [0, 1, 3, 4, 6, 7, 9, 10]
    assert len(agreed) == 4
    assert notes == ["no --select: every third calibration picture was held out to choose among candidates"]
    calibrated, selected, agreed, notes = roles_of(DataChoice(str(photos)), Task.CLASSIFY, ())
    assert (calibrated, selected, agreed) == ([0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11])
    assert any("held out to measure agreement" in note for note in notes)
    calibrated, selected, agreed, notes = roles_of(DataChoice(str(photos), select=str(others)), Task.CLASSIFY, ())
    assert (len(calibrated), len(selected), agreed) == (8, 4, [2, 5, 8, 11])


def test_a_film_is_held_out_in_stretches(tmp_path: Path) -> None:
    """Two minutes of film: neighbours in time never serve two roles."""
    film = write_clip(tmp_path / "film.avi", 480, rate=4)
    calibrated, selected, agreed, notes = roles_of(DataChoice(f"{film}#::2"))
    assert min(len(calibrated), len(selected), len(agreed)) > 60
    for first, second in ((calibrated, selected), (calibrated, agreed), (selected, agreed)):
        apart = np.abs(np.subtract.outer(first, second)).min() / 4
        assert apart > 2
    # Each role sees more than one part of the film.
    assert all(role[-1] - role[0] > 240 for role in (calibrated, selected, agreed))
    assert sum("in stretches with gaps of up to 2 s" in note for note in notes) == 2


def test_a_short_film_is_shared_out_all_the_same(clip: Path) -> None:
    calibrated, selected, agreed, _ = roles_of(DataChoice(f"{clip}#::4"))
    assert (calibrated, selected, agreed) == ([0, 4, 8], [16, 20, 24], [32, 36, 40, 44])
    assert roles_of(DataChoice(f"{clip}#:3"))[:3] == ([0], [1], [2])


def test_the_same_source_is_always_shared_out_alike(clip: Path) -> None:
    assert roles_of(DataChoice(str(clip))) == roles_of(DataChoice(str(clip)))


def test_a_plain_video_is_thinned(clip: Path) -> None:
    calibrated, selected, _, notes = roles_of(DataChoice(str(clip), select=f"{clip}#5::10", agree=f"{clip}#3::10"))
    assert calibrated == [0, 10, 20, 30, 40]
    assert selected == [5, 15, 25, 35, 45]
    assert notes == ["calibration takes every 10th frame of the video (say --calibrate-every for another step)"]


def test_a_limit_draws_from_every_part_of_the_calibration_source(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 30, film=False)
    others = write_photos(tmp_path / "others", 9, start=50, film=False)
    choice = DataChoice(str(photos), agree=str(others), limit=5, seed=7)
    calibrated, selected, agreed, _ = roles_of(choice, Task.CLASSIFY, ())
    assert (len(calibrated), len(selected), len(agreed)) == (5, 5, 9)
    assert calibrated == sorted(calibrated)
    assert all(index % 3 == 2 for index in selected)
    assert not any(index % 3 == 2 for index in calibrated)
    assert open_plan(choice, Task.CLASSIFY, ()).calibration.seed == 7


def test_nothing_left_to_calibrate_on(clip: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.json", range(0, 48, 4))
    with pytest.raises(DataError, match=r"0 pictures of .* left for calibration; .* labelled ones"):
        roles_of(DataChoice(f"{clip}#::4", labels=labels, images=str(clip), agree=f"{clip}#1::4"))


def test_images_without_labels(clip: Path) -> None:
    with pytest.raises(LabelsError, match="needs --labels"):
        roles_of(DataChoice(f"{clip}#::4", images=str(clip)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "at least 3 pictures or --select and --agree"), (("agree",), "at least 3 pictures or --select$")],
)
def test_two_pictures_are_too_few_to_hold_one_out(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    photos, others = (str(write_photos(tmp_path / name, 2, start=k)) for k, name in enumerate(("a", "b")))
    with pytest.raises(DataError, match=message):
        open_plan(DataChoice(photos, **dict.fromkeys(flags, others)), Task.CLASSIFY, ())  # type: ignore[arg-type]


def test_one_picture_calibrates_where_the_other_roles_have_their_own(tmp_path: Path) -> None:
    one, two, three = (str(write_photos(tmp_path / str(k), n, start=10 * k)) for k, n in enumerate((1, 4, 4)))
    calibrated, selected, agreed, _ = roles_of(DataChoice(one, select=two, agree=three), Task.CLASSIFY, ())
    assert (len(calibrated), len(selected), len(agreed)) == (1, 4, 4)


def test_copies_count_once(tmp_path: Path) -> None:
    folders = [write_photos(tmp_path / name, 4, start=10 * k) for k, name in enumerate("cals")]
    for folder in folders:
        shutil.copy(min(folder.iterdir()), folder / "zz.png")
    calibrate, agree, labelled, select = folders
    rows = "".join(f"{path.name},red\n" for path in sorted(labelled.iterdir()))
    (tmp_path / "labels.csv").write_text(rows)
    choice = DataChoice(
        str(calibrate), labels=tmp_path / "labels.csv", images=str(labelled), agree=str(agree), select=str(select)
    )
    notes: list[str] = []
    plan = open_plan(choice, Task.CLASSIFY, ("red",))
    assert len(list(calibration_samples(plan, notes.append))) == 4
    assert len(list(selection_samples(plan, notes.append))) == 4
    assert len(list(agreement_samples(plan, frozenset(), notes.append))) == 4
    assert len(list(plan.labelled(notes.append))) == 4
    assert [note.split(" left out")[0] for note in notes] == [f"1 picture of {name}" for name in "csal"]
