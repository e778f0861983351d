"""Sharing out, drawing, and the record of what was used."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import spot_frame, write_photos

from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.data.manifest import SampleManifest, manifest_of
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.data.share import GAP_S, draw, share_out
from edgewright.optimize.data.source import Sample, SampleSource, Slice
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = {"c": "calibration", "s": "selection", "a": "agreement"}


class Numbers(SampleSource):
    """A source of one-pixel pictures."""

    def __init__(self, count: int, spacing_s: float | None, chosen: Slice | None = None, *, told: bool = True) -> None:
        super().__init__("numbers", None, chosen or Slice())  # type: ignore[arg-type]
        self.count, self.spacing_s, self.told = count, spacing_s, told

    def common(self, other: SampleSource) -> str | None:
        raise NotImplementedError

    def _length(self) -> int | None:
        return self.count if self.told else None

    def _walk(self) -> Iterator[Sample]:
        for index in range(self.count):
            if self._takes(index):
                yield Sample(index, str(index), np.zeros((1, 1, 3), np.uint8))


def numbers_of(source: SampleSource) -> list[int]:
    return [sample.index for sample in source._walk()]


slices = st.builds(Slice, st.integers(0, 30), st.none() | st.integers(0, 400), st.integers(1, 40))


@given(slices, slices, st.integers(0, 300))
def test_where_slices_meet(first: Slice, second: Slice, length: int) -> None:
    both = [index for index in range(length) if first.takes(index) and second.takes(index)]
    assert first.meets(second, length) == second.meets(first, length) == (both[0] if both else None)


@given(
    st.integers(3, 400),
    st.none() | st.floats(0.02, 3),
    st.integers(1, 12),
    st.sampled_from(["ccs", "cca", "csa"]),
    st.booleans(),
)
def test_parts_share_nothing_and_keep_their_distance(
    count: int, spacing: float | None, step: int, turns: str, told: bool
) -> None:
    source = Numbers(count * step, spacing, Slice(0, None, step), told=told)
    parts = {role: numbers_of(part) for role, part in share_out(source, turns, WORDS).items()}
    used = sorted(index for part in parts.values() for index in part)
    assert len(set(used)) == len(used)
    assert set(used) <= set(numbers_of(source))
    if spacing is None:
        assert len(used) == count
        assert {role: len(part) for role, part in parts.items()} == {
            role: sum(turns[k % 3] == role for k in range(count)) for role in parts
        }
        return
    assert not told or all(parts.values())
    owner = {index: role for role, part in parts.items() for index in part}
    long = count * step * spacing > 60 and step * spacing < 2
    for before, after in pairwise(used):
        if owner[before] != owner[after] and long:
            assert (after - before) * spacing > GAP_S


def test_estimates_of_parts() -> None:
    source = Numbers(200, 0.5)
    for part in share_out(source, "csa", WORDS).values():
        assert part.estimate() == len(numbers_of(part)) > 30


@given(st.integers(1, 80), st.integers(1, 90), st.integers(0, 5))
def test_a_draw(count: int, limit: int, seed: int) -> None:
    source = Numbers(count, None)
    drawn = numbers_of(draw(source, limit, seed))
    assert len(drawn) == min(count, limit)
    assert drawn == sorted(set(drawn))
    assert drawn == numbers_of(draw(source, limit, seed))


def test_every_picture_is_drawn_equally_often() -> None:
    source = Numbers(20, None)
    counts = Counter(index for seed in range(600) for index in numbers_of(draw(source, 5, seed)))
    assert len(counts) == 20
    assert 105 <= min(counts.values()) <= max(counts.values()) <= 195  # 150 expected, four standard errors


@pytest.mark.parametrize(
    ("source", "limit", "message"),
    [(Numbers(5, None), 0, "a limit of 0"), (Numbers(5, 0.1, told=False), 3, "does not tell how many frames")],
)
def test_no_draw(source: Numbers, limit: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw(source, limit, 0)


def test_pictures_left_out_are_not_even_read(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 6, film=False)
    (photos / "photo-025.png").write_bytes(b"broken")
    part = share_out(open_samples(str(photos)), "ccs", WORDS)["c"]
    assert [sample.name for sample in part] == [f"photo-{k:03d}.png" for k in (0, 1, 9, 16)]


def test_the_record_of_a_walk(tmp_path: Path) -> None:
    source = draw(open_samples(str(write_photos(tmp_path / "photos", 8))), 3, seed=5)
    digests = [frame_digest(sample.image) for sample in source]
    record = manifest_of(source, digests)
    whole = DatasetDigest()
    for digest in digests:
        whole.add(digest)
    assert (record.count, record.seed, record.digest) == (3, 5, whole.hexdigest())
    assert str(tmp_path) not in record.source


sha256 = st.integers(0, 2**256 - 1).map(lambda number: number.to_bytes(32, "big").hex())
records = st.builds(
    SampleManifest,
    st.text(),
    st.lists(sha256, max_size=5).map(tuple),
    st.just("source"),
    st.none() | st.integers(0, 99),
)


@given(records)
def test_a_record_survives_json(record: SampleManifest) -> None:
    assert SampleManifest.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_the_order_is_part_of_the_record() -> None:
    digests = tuple(frame_digest(spot_frame(k)).hex() for k in range(2))
    record = SampleManifest("clip", digests)
    assert dataclasses.replace(record, digests=digests[::-1]).digest != record.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digests": ["ab" * 32]}, "does not fit its own digest"),
        ({"count": 7}, "does not fit its own digest"),
        ({"digests": ["xy"]}, "no record of pictures"),
        ({"digests": None}, "no record of pictures"),
        ({"seed": "many"}, "no record of pictures"),
    ],
)
def test_a_changed_record_is_refused(change: dict[str, object], message: str) -> None:
    values = SampleManifest("clip", ("cd" * 32, "ef" * 32)).to_json()
    with pytest.raises(DataError, match=message):
        SampleManifest.from_json(values | change)
