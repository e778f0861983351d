"""Stand-ins for a camera and a model, for tests of your own rules and sinks.

They implement the same protocols as the real parts and pass the same contract tests.

Example:
    >>> from edgewright.runtime.loop import CameraLoop
    >>> from edgewright.runtime.testing import ListSource, ScriptedModel, detections
    >>> model = ScriptedModel([detections((10, 10, 40, 90)), RuntimeError("engine gone")])
    >>> CameraLoop(ListSource.blank(2), model).run().results
    {'ok': 1, 'model_error': 1}
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.runtime.backends.base import checked_feed, closed_error
from edgewright.runtime.errors import BackendError
from edgewright.runtime.sources.base import EndOfSource
from edgewright.runtime.types import Classification, Detections, Event, Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import TensorSpec
    from edgewright.runtime.observe import Observation
    from edgewright.runtime.sources.base import SourceDown, SourceUp

__all__ = ["FunctionBackend", "ListSource", "MemorySink", "ScriptedModel", "detections"]


def detections(*boxes: tuple[float, float, float, float], score: float = 0.9, class_id: int = 0) -> Detections:
    """Detections of one class and score at the given xyxy boxes."""
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, score, np.float32),
        np.full(count, class_id, np.int64),
    )


class ScriptedModel:
    """Answers the script's entries in turn; an exception in the script is raised. The last entry repeats."""

    def __init__(self, script: Iterable[Detections | Classification | Exception], score_threshold: float = 0.5) -> None:
        """Takes the script, which must not be empty."""
        self._script = deque(script)
        self._threshold = score_threshold
        self.calls = 0

    @classmethod
    def empty(cls) -> ScriptedModel:
        """A model that never sees anything."""
        return cls([Detections.empty()])

    @property
    def score_threshold(self) -> float:
        """As given."""
        return self._threshold

    @property
    def last_timings_ms(self) -> Mapping[str, float]:
        """Always nothing much."""
        return {"preprocess": 0.0, "inference": 0.0, "decode": 0.0}

    def infer(self, image: NDArray[np.uint8], score_threshold: float | None = None) -> Detections | Classification:
        """The script's next entry, weak detections left out as a real model does."""
        del image
        self.calls += 1
        answer = self._script.popleft() if len(self._script) > 1 else self._script[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Detections):
            floor = self._threshold if score_threshold is None else score_threshold
            return answer.select(answer.scores >= floor)
        return answer


class FunctionBackend:
    """A backend whose model is a Python function, for tests of your own pre- and postprocessing."""

    engine = "a Python function"

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        function: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
    ) -> None:
        """Takes what the model would: tensors in and out, and the function from the ones to the others by name."""
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._function: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]] | None = function
        self._results = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """As given."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """As given."""
        return self._outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Calls the function.

        Raises:
            BackendError: A feed is missing or is another tensor, the function raised, or this is closed.
        """
        if self._function is None:
            raise closed_error()
        checked = {spec.name: checked_feed(feeds, spec.name, spec.shape, spec.dtype) for spec in self._inputs}
        try:
            answers = self._function(checked)
            for name, buffer in self._results.items():
                np.copyto(buffer, answers[name])
        except Exception as error:  # whatever a function raises is the failure of a model
            msg = f"the function failed: {error}"
            raise BackendError(msg) from error
        return self._results

    def close(self) -> None:
        """Forgets the function."""
        self._function = None


class ListSource:
    """Gives a list of frames and changes of state, then ends."""

    def __init__(
        self, items: Sequence[Frame | SourceDown | SourceUp | None], *, name: str = "list", live: bool = False
    ) -> None:
        """Takes what ``take`` will give, in order."""
        self._items = deque(items)
        self._name = name
        self._live = live
        self._given = 0
        self.closed = False

    @classmethod
    def blank(
        cls,
        count: int,
        *,
        size: tuple[int, int] = (64, 48),
        fps: float = 10.0,
        live: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> ListSource:
        """``count`` black frames of (width, height) at ``fps``; live ones are stamped with the clock's time now."""
        image = np.zeros((size[1], size[0], 3), np.uint8)
        start = clock()
        quality = TimeQuality.ARRIVAL if live else TimeQuality.FILE
        frames = [
            Frame(image, "list", index, start, start + index / fps if live else index / fps, quality)
            for index in range(count)
        ]
        return cls(frames, live=live)

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @property
    def live(self) -> bool:
        """As given."""
        return self._live

    @property
    def total(self) -> int | None:
        """Frames given and left."""
        return None if self._live else self._given + sum(isinstance(item, Frame) for item in self._items)

    @property
    def fps(self) -> float | None:
        """Not known."""
        return None

    @property
    def seen(self) -> int:
        """Frames given."""
        return self._given

    @property
    def drops(self) -> Mapping[str, int]:
        """Nothing is dropped."""
        return {}

    def take(self, timeout_s: float = 0.0) -> Frame | SourceDown | SourceUp | EndOfSource | None:
        """The next item, or the end."""
        del timeout_s
        if self.closed or not self._items:
            return EndOfSource()
        item = self._items.popleft()
        self._given += isinstance(item, Frame)
        return item

    def close(self) -> None:
        """Ends it."""
        self.closed = True


class MemorySink:
    """Keeps events and observations in lists."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.events: list[Event] = []
        self.observations: list[Observation] = []

    def emit(self, event: Event) -> None:
        """Keeps the event."""
        self.events.append(event)

    def observe(self, observation: Observation) -> None:
        """Keeps the observation."""
        self.observations.append(observation)
