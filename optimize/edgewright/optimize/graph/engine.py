"""Opening and running a graph that is looked into: ONNX Runtime, with failures in our own words.

The device's code path is ``edgewright.runtime.backends``; this is for steps that run parts of a graph, or graphs whose
inner values are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import JudgeError
from edgewright.runtime.backends.ort import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

__all__ = ["open_engine", "run_engine"]

_LONGEST_REASON = 500  # characters of the engine's message that are passed on


def open_engine(
    model: bytes, engine: Mapping[str, Any] | None = None, *, threads: int = 1, what: str = "the graph"
) -> Any:
    """Loads a graph on the CPU.

    Args:
        model: An ONNX file.
        engine: ``Variant.engine`` of the file it came from; ``disabled_optimizers`` is obeyed.
        threads: For one run.
        what: What to call it in errors.

    Raises:
        JudgeError: The engine refuses it.
    """
    ort = import_onnxruntime()

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    disabled = list((engine or {}).get("disabled_optimizers", ()))
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
    except Exception as error:
        # The engine raises classes of its own extension module, all meaning "it failed".
        msg = f"the engine refuses {what}: {_reason(error)}"
        raise JudgeError(msg) from error


def run_engine(session: Any, outputs: Sequence[str], feeds: Feeds) -> dict[str, NDArray[Any]]:
    """Runs a graph that ``open_engine`` opened.

    Args:
        session: The graph.
        outputs: Names of the wanted values.
        feeds: Its inputs.

    Raises:
        JudgeError: The engine fails.
    """
    try:
        answers = session.run(list(outputs), dict(feeds))
    except Exception as error:
        # As in ``open_engine``.
        msg = f"the engine fails while it runs the model: {_reason(error)}"
        raise JudgeError(msg) from error
    return dict(zip(outputs, answers, strict=True))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]
