"""Many networks trained side by side, and what is seen of them on the way.

``request``: what was asked for, checked. ``steps``: one optimiser step of many networks. ``recording``: what is measured
of a network. ``checkpoints``: what survives being killed. ``program``: all networks of one static choice, from start to
end. ``labels``: the dataset. ``together``: the whole, from request to dataset.
"""

from jaxsat.training.together import train

__all__ = ["train"]
