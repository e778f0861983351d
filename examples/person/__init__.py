"""A person detector from published float weights: SSDLite on MobileNetV2, 300 x 300."""
