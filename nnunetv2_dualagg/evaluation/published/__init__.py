"""Published results on iSeg, for the tables of a comparison."""

from importlib.resources import files

import pandas as pd

TISSUES = {"CSF", "GM", "WM"}


def published_table(number: int) -> pd.DataFrame:
    """The published results that belong into one of the paper's tables.

    Args:
        number: 1 to 3.

    Returns:
        A row per data set, method and tissue: columns ``table``, ``data``, ``method``, ``tissue``, ``dice`` (a
        fraction) and ``asd`` (mm).
    """
    everything = pd.read_csv(files(__package__) / "published.csv")
    return everything[everything["table"] == number]
