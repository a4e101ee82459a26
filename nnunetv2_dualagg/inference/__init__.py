"""Using trained models: one infant or a whole data set, a model as one file, which models this installation can use.

``from nnunetv2_dualagg.inference import segment`` is the command of that name in Python.
"""

from importlib import import_module
from typing import Any

_MODULES = {"load_model": "model", "segment": "segmenting"}
__all__ = ["load_model", "segment"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and not all that comes with it before."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
