"""One trainer for all that trains: distillation, fine-tuning after pruning, and quantization-aware training.

    TrainingSet (pictures by row) + Objective (what is to become small) + TrainSettings -> Trainer.fit -> same module

Everything random follows from the seed and the number of the step, so that a run that was killed goes on to the very
weights that an uninterrupted one ends with.
"""
