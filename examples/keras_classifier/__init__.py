"""A small Keras classifier trained on Fashion-MNIST, saved in the two forms that Keras writes."""
