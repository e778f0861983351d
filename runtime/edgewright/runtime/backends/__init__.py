"""Engines behind one seam: each runs one variant and knows nothing of images or boxes."""
