"""Writes the classifier as a plain ``.onnx`` file, the way somebody else's model usually arrives.

python -m examples.classifier.export_onnx mobilenet_v2-b0353104.pth mobilenet_v2.onnx
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import EdgewrightError
from edgewright.optimize.sources import load_source


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Export MobileNetV2 to one ONNX file.")
    parser.add_argument("weights", type=Path, help="the state dict that scripts/samples classifier fetches")
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    options = parser.parse_args()
    try:
        made = load_source("examples.classifier.model:factory", weights=options.weights)
        write_bytes(options.out, made.model)
    except EdgewrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    sys.stdout.write(f"{options.out}: {len(made.model)} bytes; {made.notes[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
