"""Engines behind one seam: each runs one variant and knows nothing of images or boxes.

``opening.open_backend`` picks the engine by the variant's format; ``choice`` says which engines this machine has.
"""
