"""Many networks trained side by side, and what is recorded of them on the way.

``train_request``: what is asked for, checked; ``targets``: of it the data. ``objective``: the loss, which the targets
decide. ``weights``: what is trained of a network. ``optimizers``: the optimiser, and what tells it from others. ``steps``: one
step of many networks. ``recording``: what is measured of a network. ``training_program``: the compiled program of one
static choice, and its run. ``checkpoints``: what survives being killed. ``labels``: the dataset. ``together``: ``train``.
"""

from jaxsat.training.together import train

__all__ = ["train"]
