"""An image classifier: MobileNetV2 with ImageNet weights, 224 x 224."""
