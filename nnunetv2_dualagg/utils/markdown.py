"""Markdown tables whose columns line up, so that they are readable on a screen too."""

from collections.abc import Sequence

from tabulate import tabulate


def markdown_table(header: Sequence[object], rows: Sequence[Sequence[object]], numbers_from: int | None = None) -> str:
    """A table in Markdown.

    Args:
        header: the names of the columns.
        rows: the cells, as many in each row.
        numbers_from: the first column to align to the right; None aligns all to the left.
    """
    sides = ["left" if numbers_from is None or i < numbers_from else "right" for i in range(len(header))]
    cells = [[_escaped(cell) for cell in row] for row in rows]
    return tabulate(cells, [_escaped(name) for name in header], "pipe", colalign=sides, disable_numparse=True)


def _escaped(content: object) -> str:
    return str(content).replace("|", r"\|")
