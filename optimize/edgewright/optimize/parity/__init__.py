"""Whether the forms of one model say the same: source framework, ONNX and TFLite, float and INT8."""
