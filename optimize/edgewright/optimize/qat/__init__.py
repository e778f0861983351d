"""Quantization-aware training on exactly the grid of the file that is shipped.

    float graph + QDQ graph -> simulation (``simulation``) -> trained -> float graph and ranges -> the same QDQ writer

No network is traced anew: the simulation runs the QDQ graph itself, operator by operator, so it serves sources from
PyTorch, Keras and ONNX alike, and whatever is shared, fused or left in float in the file is so in training. Modules that
define PyTorch classes are imported only when something is trained.
"""

from __future__ import annotations
