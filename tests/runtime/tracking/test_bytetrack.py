"""ByteTrack on drawn scenes: identities survive what they should and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.runtime.testing import detections
from edgewright.runtime.tracking import ByteTrack, ByteTrackConfig
from edgewright.runtime.types import Detections

SIZE = (640, 480)
FPS = 10.0


def walker(frame: int, *, start: float = 50.0, speed: float = 6.0, top: float = 100.0) -> tuple[float, ...]:
    x = start + speed * frame
    return (x, top, x + 40.0, top + 100.0)


def seen(*boxes: tuple[float, ...], score: float = 0.9, class_id: int = 0) -> Detections:
    return detections(*boxes, score=score, class_id=class_id)  # type: ignore[arg-type]


def both(*parts: Detections) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
    )


def ids_of(tracker: ByteTrack, frames: list[Detections], first: int = 0) -> list[list[int]]:
    return [tracker.update(frame, (first + number) / FPS, SIZE).ids.tolist() for number, frame in enumerate(frames)]


def test_a_walker_keeps_one_identity() -> None:
    tracker = ByteTrack()
    assert ids_of(tracker, [seen(walker(frame)) for frame in range(50)]) == [[1]] * 50
    assert tracker.ids_given == 1


def test_identity_survives_a_hidden_second_and_not_a_long_one() -> None:
    tracker = ByteTrack(ByteTrackConfig(lost_s=1.0))
    walk = [seen(walker(frame)) for frame in range(60)]
    hidden = [*walk[:20], *[seen()] * 8, *walk[28:40], *[seen()] * 12, *walk[52:60]]
    ids = ids_of(tracker, hidden)
    assert ids[:20] == [[1]] * 20
    assert ids[20:28] == [[]] * 8
    assert ids[28:40] == [[1]] * 12
    assert [row for row in ids[52:] if row] == [[2]] * 7  # gone for longer than lost_s: somebody new, seen twice first


def test_a_weak_box_keeps_an_identity_but_starts_none() -> None:
    tracker = ByteTrack()
    frames = [seen(walker(frame), score=0.9 if frame < 10 or frame > 20 else 0.2) for frame in range(30)]
    assert ids_of(tracker, frames) == [[1]] * 30
    assert ids_of(ByteTrack(), [seen(walker(frame), score=0.3) for frame in range(20)]) == [[]] * 20


def test_two_walkers_who_cross_keep_their_identities() -> None:
    tracker = ByteTrack()
    frames = [
        seen(walker(frame, start=50, speed=8, top=100), walker(frame, start=450, speed=-8, top=115))
        for frame in range(51)
    ]
    tracks = [tracker.update(frame, number / FPS, SIZE) for number, frame in enumerate(frames)]
    assert [row.ids.tolist() for row in tracks] == [[1, 2]] * 51
    assert tracks[0].boxes[0, 0] < tracks[0].boxes[1, 0]
    assert tracks[-1].boxes[0, 0] > tracks[-1].boxes[1, 0]


def test_a_box_seen_once_gets_no_identity() -> None:
    tracker = ByteTrack()
    empty = seen()
    frames = [empty, seen(walker(0)), empty, seen(walker(30)), empty]
    assert ids_of(tracker, frames) == [[]] * 5
    assert tracker.ids_given == 0


def test_classes_never_mix() -> None:
    tracker = ByteTrack()
    box = walker(0)
    first = tracker.update(seen(box, class_id=0), 0.0, SIZE)
    for frame in range(1, 4):
        tracks = tracker.update(seen(box, class_id=1), frame / FPS, SIZE)
    assert first.class_ids.tolist() == [0]
    assert (tracks.ids.tolist(), tracks.class_ids.tolist()) == ([2], [1])


def test_two_trackers_share_nothing() -> None:
    one, two = ByteTrack(), ByteTrack()
    frames = [both(seen(walker(frame)), seen(walker(frame, top=300.0))) for frame in range(10)]
    alone = ids_of(ByteTrack(), frames)
    mixed = []
    for number, frame in enumerate(frames):
        mixed.append(one.update(frame, number / FPS, SIZE).ids.tolist())
        two.update(seen(walker(3 * number), walker(50, top=300.0)), number / FPS, SIZE)
    assert mixed == alone == [[1, 2]] * 10
    assert two.update(seen(walker(50, top=300.0)), 1.0, SIZE).ids.min() >= 1


def test_boxes_are_smoothed() -> None:
    rng = np.random.default_rng(3)
    tracker = ByteTrack()
    raw, smooth = [], []
    for frame in range(120):
        truth = np.array(walker(frame, speed=2.0))
        noisy = truth + rng.normal(0.0, 4.0, 4)
        box = tracker.update(seen(tuple(noisy)), frame / FPS, SIZE).boxes[0]
        if frame > 20:
            raw.append(np.abs(noisy - truth).mean())
            smooth.append(np.abs(box - truth).mean())
    assert np.mean(smooth) < 0.9 * np.mean(raw)


def test_boxes_are_clipped_to_the_frame() -> None:
    tracker = ByteTrack()
    for frame in range(10):
        tracks = tracker.update(seen((600.0, 400.0, 700.0, 520.0)), frame / FPS, SIZE)
    assert tracks.boxes[0].tolist() == pytest.approx([600.0, 400.0, 640.0, 480.0], abs=2.0)
    assert (tracks.boxes[0] <= [640, 480, 640, 480]).all()


def test_the_same_scene_at_half_the_rate_gives_the_same_identities() -> None:
    frames = [seen(walker(frame), walker(frame, start=500.0, speed=-5.0, top=300.0)) for frame in range(60)]
    tracker = ByteTrack()
    halved = [tracker.update(frames[number], number / FPS, SIZE).ids.tolist() for number in range(0, 60, 2)]
    assert halved == [[1, 2]] * 30


def test_state_stays_bounded_through_ten_thousand_frames_of_strangers() -> None:
    rng = np.random.default_rng(11)
    tracker = ByteTrack(ByteTrackConfig(max_tracks=40))
    largest = 0
    for frame in range(10_000):
        corner = rng.uniform(0, 400, (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 80, (6, 2))], axis=1).astype(np.float32)
        scores = rng.uniform(0.3, 1.0, 6).astype(np.float32)
        tracker.update(Detections(boxes, scores, np.zeros(6, np.int64)), frame / FPS, SIZE)
        largest = max(largest, len(tracker))
    assert largest <= 40
    held = [value for value in vars(tracker).values() if isinstance(value, np.ndarray)]
    assert held
    assert all(len(value) <= 40 for value in held)


def test_a_full_tracker_gives_up_the_longest_unseen_first() -> None:
    tracker = ByteTrack(ByteTrackConfig(max_tracks=2, lost_s=10.0))
    left, right, low = walker(0), walker(0, start=400.0), walker(0, top=350.0)
    tracker.update(seen(left, right), 0.0, SIZE)
    tracker.update(seen(right), 0.1, SIZE)
    tracker.update(seen(right, low), 0.2, SIZE)  # room for `low` comes from `left`
    assert tracker.update(seen(right, low), 0.3, SIZE).ids.tolist() == [2, 3]
    assert 1 not in tracker.update(seen(left, right), 0.4, SIZE).ids


def test_a_clock_that_runs_backwards_starts_afresh_with_new_ids() -> None:
    tracker = ByteTrack()
    ids_of(tracker, [seen(walker(0))] * 3)
    assert ids_of(tracker, [seen(walker(0))] * 3, first=-50)[-1] == [2]


@pytest.mark.parametrize(
    "settings", [{"low": 0.6}, {"start": 0.4}, {"confirm_hits": 0}, {"max_tracks": 0}, {"lost_s": -1}]
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        ByteTrackConfig(**settings)  # type: ignore[arg-type]
