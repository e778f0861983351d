"""ONNX to TFLite: float, float16, dynamic and full INT8, without TensorFlow, PyTorch or JAX.

The INT8 file holds the very integers of a QDQ graph; nothing is quantized a second time.
"""

from edgewright.optimize.tflite.form import TfliteFile, TfliteForm, Tuning
from edgewright.optimize.tflite.write import write_tflite

__all__ = ["TfliteFile", "TfliteForm", "Tuning", "write_tflite"]
