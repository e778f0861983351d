"""An image classifier that INT8 hurts little: EfficientNet-Lite0 with ImageNet weights, 224 x 224."""
