"""``scripts/bench quantize``: our INT8 against that of other tools, on the same networks, pictures and judge.

- ``subjects``: the networks, their pictures and how these are split.
- ``pictures``: crops and test pictures made deterministically from the samples.
- ``prepare``: the float file and the calibration tensors that every engine gets.
- ``environments``: a virtual environment for each peer, pinned.
- ``engines``: the engines' names, and how each is run as a child process.
- ``peers/``: what such a child runs; standalone, for their environments do not have edgewright.
- ``judge``: one judge for all files: fidelity with intervals, then times in alternating processes.
- ``table``: Markdown, and the verdict in words.
- ``rows``: finished work, kept by the digest of all that determined it.
"""
