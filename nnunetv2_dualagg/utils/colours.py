"""Colours that are distinct with every common colour blindness (Okabe and Ito, "Color Universal Design", 2008)."""

from collections.abc import Iterable

TISSUES = ("#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#E69F00", "#999999")
METHODS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
ERROR = "#D55E00"


def colour_map(names: Iterable[str], palette: tuple[str, ...]) -> dict[str, str]:
    """A colour for each name, in the palette's order; they repeat when it runs out."""
    return {name: palette[index % len(palette)] for index, name in enumerate(names)}
