"""Times the tracker on a drawn scene: ``python -m edgewright.runtime.tracking.bench``.

Objects walk and bounce in a 1920x1080 picture at 30 frames a second; a tenth of the boxes is missed, all are noisy.
Figures are CPU milliseconds of one update on one core, best of the repeats' medians.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from edgewright.runtime.tracking.bytetrack import ByteTrack
from edgewright.runtime.types import Detections

__all__ = ["drawn_scene", "time_updates"]

_SIZE = (1920, 1080)
_FPS = 30.0
_FRAMES = 300
_REPEATS = 5


def drawn_scene(objects: int, frames: int = _FRAMES, seed: int = 0) -> list[Detections]:
    """Detections of ``objects`` walkers, one entry a frame."""
    rng = np.random.default_rng(seed)
    size = np.array(_SIZE, np.float64)
    place = rng.uniform(0.05, 0.95, (objects, 2)) * size
    velocity = rng.normal(0.0, 60.0, (objects, 2))
    half = rng.uniform([15.0, 30.0], [40.0, 100.0], (objects, 2))
    scene = []
    for _ in range(frames):
        place += velocity / _FPS
        velocity[(place < 0.0) | (place > size)] *= -1.0
        seen = rng.random(objects) > 0.1
        centre = place[seen] + rng.normal(0.0, 2.0, (int(seen.sum()), 2))
        boxes = np.concatenate([centre - half[seen], centre + half[seen]], axis=1).astype(np.float32)
        scores = rng.uniform(0.3, 1.0, len(boxes)).astype(np.float32)
        scene.append(Detections(boxes, scores, np.zeros(len(boxes), np.int64)))
    return scene


def time_updates(scene: list[Detections]) -> tuple[float, float]:
    """Median and 95th percentile of one update's CPU time over a scene, milliseconds."""
    tracker = ByteTrack()
    taken = []
    for number, detections in enumerate(scene):
        started = time.thread_time_ns()
        tracker.update(detections, number / _FPS, _SIZE)
        taken.append((time.thread_time_ns() - started) / 1e6)
    return float(np.median(taken)), float(np.percentile(taken, 95))


def _main() -> None:
    for objects in (5, 20, 50, 100):
        p50, p95 = min(time_updates(drawn_scene(objects)) for _ in range(_REPEATS))
        sys.stdout.write(json.dumps({"objects": objects, "p50_ms": round(p50, 3), "p95_ms": round(p95, 3)}) + "\n")


if __name__ == "__main__":
    _main()
