"""The person detector rebuilt in Keras: SSDLite on MobileNetV2, with the weights of the published frozen graph."""
