"""A small classifier trained here: a depthwise network on Fashion-MNIST."""
