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

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError, JudgeError
from edgewright.optimize.selection.figures import Figures
from edgewright.optimize.selection.losses import loss_for
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.selection.figures import Fidelity
    from edgewright.optimize.selection.losses import HeadLoss
    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.types import FeedSource, OnStep

__all__ = ["FidelityJudge"]


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
    ) -> None:
        """Runs the float model over the pictures and keeps its raw outputs.

        Args:
            spec: How outputs are read; None where nobody knows.
            model: The prepared float graph.
            feeds: The selection pictures as the float graph takes them.
            threads: For the engine, here and for candidates.
            block: Consecutive pictures that show the same scene, for ``improves``; 1 for unrelated ones.
            on_step: Told how many pictures are done.

        Raises:
            DataError: There are no pictures.
            JudgeError: The float model cannot be run, or answers NaN or infinity.
        """
        self.block = block
        self._feeds, self._threads = feeds, threads
        self._loss: HeadLoss = loss_for(spec)
        self._wanted = spec.output_names if spec is not None else None
        self._spec = spec
        reference = []
        for answer in self._answers(model, {}, feeds):
            bad = next((name for name, value in answer.items() if not np.isfinite(value).all()), None)
            if bad is not None:
                msg = (
                    f"the float model gives NaN or infinity in output {bad!r}; it must be mended before it is quantized"
                )
                raise JudgeError(msg)
            reference.append(answer)
            on_step(len(reference), None)
        if not reference:
            msg = "there are no selection pictures; name some with --select"
            raise DataError(msg)
        self._reference = tuple(reference)

    def __len__(self) -> int:
        """How many selection pictures."""
        return len(self._reference)

    def losses(
        self, model: bytes, engine: Mapping[str, Any] | None = None, feeds: FeedSource | None = None
    ) -> NDArray[np.float64]:
        """How far a candidate is from float, picture by picture.

        Args:
            model: The candidate's ONNX file.
            engine: Its ``Variant.engine``.
            feeds: The same pictures in the same order as the candidate takes them, where it takes them otherwise.

        Returns:
            (n,) not negative; 0 means equal, infinity that the candidate answered NaN.

        Raises:
            JudgeError: The candidate cannot be run, or its outputs are not the float model's.
        """
        return np.array([self._loss(a, b) for a, b in self._pairs(model, engine, feeds)], np.float64)

    def losses_of(self, outputs: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float64]:
        """Losses of answers that somebody else got, such as an emulator of another board.

        Args:
            outputs: Raw outputs by name for every picture, in order.

        Raises:
            JudgeError: There are more or fewer of them than pictures, or they are not the float model's.
        """
        if len(outputs) != len(self._reference):
            msg = f"{len(outputs)} answers are given for {len(self._reference)} selection pictures"
            raise JudgeError(msg)
        for before, after in zip(self._reference, outputs, strict=True):
            _check_outputs(before, after)
        pairs = zip(self._reference, outputs, strict=True)
        return np.array([self._loss(before, after) for before, after in pairs], np.float64)

    def describe(
        self, model: bytes, engine: Mapping[str, Any] | None = None, feeds: FeedSource | None = None
    ) -> Fidelity:
        """The same in readable figures; see ``losses``."""
        figures = Figures(self._loss, self._spec)
        for before, after in self._pairs(model, engine, feeds):
            figures.add(before, after)
        return figures.fidelity()

    def _pairs(
        self, model: bytes, engine: Mapping[str, Any] | None, feeds: FeedSource | None
    ) -> Iterator[tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]]:
        count = 0
        for after in self._answers(model, engine or {}, feeds or self._feeds):
            if count == len(self._reference):
                msg = f"the candidate was given more than the {count} selection pictures that float saw"
                raise JudgeError(msg)
            before = self._reference[count]
            _check_outputs(before, after)
            count += 1
            yield before, after
        if count != len(self._reference):
            msg = f"the candidate was given {count} of the {len(self._reference)} selection pictures that float saw"
            raise JudgeError(msg)

    def _answers(
        self, model: bytes, engine: Mapping[str, Any], feeds: FeedSource
    ) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        try:
            backend = OnnxBackend(model, threads=self._threads, engine=engine)
            for feed in feeds():
                outputs = backend.run(feed)
                names = self._wanted or tuple(outputs)
                yield {name: outputs[name].astype(np.float32) for name in names}
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
