"""TensorFlow's formats: read in a child process, converted by tf2onnx, compared with TensorFlow on the same inputs."""
