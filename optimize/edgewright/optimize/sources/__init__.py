"""Where float models come from: ONNX files, PyTorch and TensorFlow, all ending in a ``FloatModel``."""

from edgewright.optimize.sources.float_model import FloatModel
from edgewright.optimize.sources.load import load_source
from edgewright.optimize.sources.spec_file import load_spec

__all__ = ["FloatModel", "load_source", "load_spec"]
