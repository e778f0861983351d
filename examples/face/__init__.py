"""A face detector that arrives as a plain ONNX file: RetinaFace on MobileNet-0.25."""
