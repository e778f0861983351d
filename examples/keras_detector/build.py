"""Writes the Keras person detector as ``.keras`` and as a SavedModel, with its spec and anchors beside.

python -m examples.keras_detector.build ~/.cache/edgewright/samples/frozen_inference_graph.pb person_keras
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

from edgewright.bundle.errors import EdgewrightError
from examples.keras_detector.model import build, load_frozen_weights
from examples.person.anchors import ssd_anchors
from examples.person.frozen_graph import read_float_constants

__all__ = ["main", "write_detector"]


def write_detector(weights: Path, out: Path, *, saved_model: bool = True) -> None:
    """Fills a folder with ``model.keras``, ``saved_model``, ``anchors.npy`` and the two specs.

    Args:
        weights: ``frozen_inference_graph.pb`` as fetched by ``scripts/samples``.
        out: The folder; made if need be.
        saved_model: Whether to write that form too; it takes longest.

    Raises:
        ModelError: The file does not hold this detector's weights.
    """
    model = build()
    load_frozen_weights(model, read_float_constants(weights.read_bytes()))
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    if saved_model:
        model.export(out / "saved_model", verbose=False)
    np.save(out / "anchors.npy", ssd_anchors())
    for name in ("spec.toml", "frozen_graph.toml"):
        shutil.copyfile(Path(__file__).with_name(name), out / name)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the Keras person detector.")
    parser.add_argument("weights", type=Path, help="frozen_inference_graph.pb; scripts/samples person fetches it")
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--keras-only", action="store_true", help="no SavedModel, which takes longest to write")
    options = parser.parse_args()
    try:
        write_detector(options.weights, options.out, saved_model=not options.keras_only)
    except OSError as error:
        sys.stderr.write(f"cannot read {options.weights} or write {options.out}: {error}\n")
        return 2
    except EdgewrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    forms = "model.keras" if options.keras_only else "model.keras, saved_model"
    sys.stdout.write(f"{options.out}: {forms}, spec.toml, frozen_graph.toml, anchors.npy\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
