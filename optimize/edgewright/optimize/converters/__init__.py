"""Converters that others keep, for what ``edgewright.optimize.tflite`` cannot write: the fallback on the way to TFLite.

``litert-torch`` for PyTorch networks, TensorFlow's own converter for Keras models and SavedModels, and
``ai-edge-quantizer`` for full INT8 of a float file. Each runs in a process of its own.
"""
