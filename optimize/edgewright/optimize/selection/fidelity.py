"""Candidates held against the float model on the selection pictures, run by the device's own engine.

``FidelityJudge.losses`` is what the optimizer decides by (see ``edgewright.optimize.selection.losses`` and
``compare``); ``describe`` says the same in figures that people know. Neither is the verdict: that is given on other
pictures, by ``edgewright.optimize.judge``.

Example:
    >>> judge = FidelityJudge(spec, prepared, feeds)                         # doctest: +SKIP
    >>> plain, mended = judge.losses(int8.model), judge.losses(other.model)  # doctest: +SKIP
    >>> improves(plain, mended, block=judge.block).accepted                  # doctest: +SKIP
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import Format
from edgewright.optimize.errors import DataError, JudgeError
from edgewright.optimize.evaluate.coco import as_truth, compare_precision
from edgewright.optimize.evaluate.observe import CURVE_THRESHOLD
from edgewright.optimize.selection.figures import Figures, decoder_of, placement_of
from edgewright.optimize.selection.losses import loss_for
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.decode import dequantized
from edgewright.runtime.errors import RuntimeFailure
from edgewright.runtime.types import Detections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.contract import Measured
    from edgewright.optimize.selection.figures import Fidelity
    from edgewright.optimize.selection.losses import HeadLoss
    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.types import FeedSource, OnStep
    from edgewright.runtime.decode import Decoder

__all__ = ["KEPT_BYTES", "FidelityJudge"]

_REPLICATES = 200  # of the bootstrap: the interval is only told, nothing is decided by it


KEPT_BYTES = 64 * 2**20
"""Of the float model's outputs; those of further pictures are computed anew whenever a candidate is held against them."""


class FidelityJudge:
    """Knows what the float model said of the selection pictures, and tells how far a candidate is from it."""

    def __init__(
        self,
        spec: ModelSpec | None,
        model: bytes,
        feeds: FeedSource,
        *,
        threads: int = 1,
        block: int = 1,
        on_step: OnStep = lambda _done, _total: None,
        keep_bytes: int = KEPT_BYTES,
    ) -> None:
        """Runs the float model over the pictures and keeps its raw outputs, as far as they are small.

        Args:
            spec: How outputs are read; None where nobody knows.
            model: The prepared float graph.
            feeds: The selection pictures as the float graph takes them.
            threads: For the engine, here and for candidates.
            block: Consecutive pictures that show the same scene, for ``improves``; 1 for unrelated ones.
            on_step: Told how many pictures are done.
            keep_bytes: Outputs of the float model are kept up to this size together.

        Raises:
            DataError: There are no pictures.
            JudgeError: The float model cannot be run, or answers NaN or infinity.
        """
        self.block = block
        self._feeds, self._threads, self._model = feeds, threads, model
        self._loss: HeadLoss = loss_for(spec)
        self._wanted = spec.output_names if spec is not None else None
        self._spec = spec
        reference: list[Mapping[str, NDArray[np.float32]]] = []
        self._count = held = 0
        for answer in self._answers(model, {}, feeds):
            bad = next((name for name, value in answer.items() if not np.isfinite(value).all()), None)
            if bad is not None:
                msg = (
                    f"the float model gives NaN or infinity in output {bad!r}; it must be mended before it is quantized"
                )
                raise JudgeError(msg)
            held += sum(value.nbytes for value in answer.values())
            # The first ones are kept, so that the rest is one stretch to be run again.
            if held <= keep_bytes and len(reference) == self._count:
                reference.append(answer)
            self._count += 1
            on_step(self._count, None)
        if not self._count:
            msg = "there are no selection pictures; name some with --select"
            raise DataError(msg)
        self._reference = tuple(reference)

    def __len__(self) -> int:
        """How many selection pictures."""
        return self._count

    def losses(
        self,
        model: bytes,
        engine: Mapping[str, Any] | None = None,
        feeds: FeedSource | None = None,
        kind: Format = Format.ONNX,
    ) -> NDArray[np.float64]:
        """How far a candidate is from float, picture by picture.

        Args:
            model: The candidate's file.
            engine: Its ``Variant.engine``.
            feeds: The same pictures in the same order as the candidate takes them, where it takes them otherwise.
            kind: Format of the file.

        Returns:
            (n,) not negative; 0 means equal, infinity that the candidate answered NaN.

        Raises:
            JudgeError: The candidate cannot be run, or its outputs are not the float model's.
        """
        return np.array([self._loss(a, b) for a, b in self._pairs(model, engine, feeds, kind)], np.float64)

    def losses_of(self, outputs: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float64]:
        """Losses of answers that somebody else got, such as an emulator of another board.

        Args:
            outputs: Raw outputs by name for every picture, in order.

        Raises:
            JudgeError: There are more or fewer of them than pictures, or they are not the float model's.
        """
        if len(outputs) != self._count:
            msg = f"{len(outputs)} answers are given for {self._count} selection pictures"
            raise JudgeError(msg)
        losses = []
        for before, after in zip(self._references(), outputs, strict=True):
            _check_outputs(before, after)
            losses.append(self._loss(before, after))
        return np.array(losses, np.float64)

    def describe(
        self,
        model: bytes,
        engine: Mapping[str, Any] | None = None,
        feeds: FeedSource | None = None,
        kind: Format = Format.ONNX,
    ) -> Fidelity:
        """The same in readable figures; see ``losses``."""
        figures = Figures(self._loss, self._spec)
        for before, after in self._pairs(model, engine, feeds, kind):
            figures.add(before, after)
        return figures.fidelity()

    def agreement_precision(
        self,
        model: bytes,
        engine: Mapping[str, Any] | None = None,
        feeds: FeedSource | None = None,
        kind: Format = Format.ONNX,
    ) -> Measured:
        """AP at IoU 0.5 of a candidate's boxes with float's boxes above the score threshold as truth, 0..1.

        Args:
            model: The candidate's file.
            engine: Its ``Variant.engine``.
            feeds: As for ``losses``.
            kind: Format of the file.

        Raises:
            JudgeError: The candidate cannot be run, or the model is no detector.
        """
        decoder: Decoder | None = None
        seen: list[tuple[Detections, Detections]] = []
        for before, after in self._pairs(model, engine, feeds, kind):
            if decoder is None:
                decoder = decoder_of(self._spec, before)
            # The curve wants low scores too.
            both = tuple(decoder(outputs, placement_of(self._spec), CURVE_THRESHOLD) for outputs in (before, after))
            if isinstance(both[0], Detections) and isinstance(both[1], Detections):
                seen.append((both[0], both[1]))
        if decoder is None or not seen:
            msg = "average precision is asked of a model that finds no boxes"
            raise JudgeError(msg)
        float_, int8 = [row[0] for row in seen], [row[1] for row in seen]
        truth = [as_truth(said, decoder.score_threshold) for said in float_]
        return compare_precision(truth, float_, int8, block=self.block, replicates=_REPLICATES).int8.ap50

    def _pairs(
        self, model: bytes, engine: Mapping[str, Any] | None, feeds: FeedSource | None, kind: Format
    ) -> Iterator[tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]]:
        count, references = 0, self._references()
        for after in self._answers(model, engine or {}, feeds or self._feeds, kind):
            before = next(references, None)
            if before is None:
                msg = f"the candidate was given more than the {count} selection pictures that float saw"
                raise JudgeError(msg)
            _check_outputs(before, after)
            count += 1
            yield before, after
        if count != self._count:
            msg = f"the candidate was given {count} of the {self._count} selection pictures that float saw"
            raise JudgeError(msg)

    def _references(self) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        """What float says of each picture: kept, or computed again."""
        yield from self._reference
        known = len(self._reference)
        if known < self._count:
            yield from self._answers(self._model, {}, lambda: itertools.islice(self._feeds(), known, self._count))

    def _answers(
        self, model: bytes, engine: Mapping[str, Any], feeds: FeedSource, kind: Format = Format.ONNX
    ) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        try:
            backend = open_backend(kind, model, threads=self._threads, engine=engine)
            specs = {spec.name: spec for spec in backend.outputs}
            for feed in feeds():
                outputs = backend.run(feed)
                names = self._wanted or tuple(outputs)
                # A copy: the backend's buffers are overwritten by the next picture.
                yield {name: np.array(dequantized(outputs[name], specs[name])) for name in names}
        except RuntimeFailure as error:
            msg = f"a model cannot be run on the selection pictures: {error}"
            raise JudgeError(msg) from error
        except KeyError as error:
            msg = f"a model has no output {error}; it has {', '.join(spec.name for spec in backend.outputs)}"
            raise JudgeError(msg) from error


def _check_outputs(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> None:
    for name, value in before.items():
        if name not in after or after[name].shape != value.shape:
            seen = after[name].shape if name in after else "nothing"
            msg = f"output {name!r} of the candidate has shape {seen}, that of the float model {value.shape}"
            raise JudgeError(msg)
