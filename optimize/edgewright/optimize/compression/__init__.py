"""Smaller networks before they are quantized: the training steps of a recipe, run one after the other.

    distil (a student learns from a teacher) -> prune (channels are removed, what is left is tuned) -> sparsify -> tune

Each step takes a PyTorch network and gives one; each is exported and measured as a file, in the engines that devices
run, and a step after which the file did not become what the step promised is reported as having failed.
"""
