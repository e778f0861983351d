"""Training sets: pictures from any source of this tool, prepared as the bundle prepares them, distorted, in batches.

source (folder, video, .npz, factory) -> PictureStore (network size, uint8) -> PictureSet.batch -> Batch
"""

from edgewright.optimize.training.sets.distort import Distort
from edgewright.optimize.training.sets.open import TrainingData, open_training_set
from edgewright.optimize.training.sets.pictures import PictureSet

__all__ = ["Distort", "PictureSet", "TrainingData", "open_training_set"]
