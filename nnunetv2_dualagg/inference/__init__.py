"""Using trained models: one infant or a whole data set, a model as one file, which models this installation can use.

``from nnunetv2_dualagg.inference import segment`` is the command of that name in Python.
"""

from typing import Any

__all__ = ["load_model", "segment"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and not all that comes with it before."""
    if name in __all__:
        from nnunetv2_dualagg.inference import segmenting

        return getattr(segmenting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
