"""Tables as CSV, Markdown and LaTeX."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.utils.markdown import markdown_table

NO_VALUE = "-"


@dataclass(frozen=True)
class Table:
    """A table to print.

    Attributes:
        name: its file name without ending.
        title: a heading.
        caption: what the cells hold.
        frame: the cells, as text; columns may have two levels.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame


def as_markdown(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    return markdown_table(flat_columns(frame), list(frame.itertuples(index=False)))


def as_latex(table: Table) -> str:
    """A LaTeX table; it needs the package booktabs."""
    style = table.frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    latex = style.to_latex(hrules=True, multicol_align="c", caption=table.caption, label=f"tab:{table.name}")
    return latex.replace("±", r"$\pm$")


def flat_columns(frame: pd.DataFrame) -> list[str]:
    """The column names as one line, ``CSF Dice`` for a column with two levels."""
    if frame.columns.nlevels == 1:
        return list(map(str, frame.columns))
    return [" ".join(filter(None, column)) for column in frame.columns]


def write_table(table: Table, folder: Path) -> None:
    """Write a table as CSV, Markdown and LaTeX (booktabs)."""
    table.frame.set_axis(flat_columns(table.frame), axis="columns").to_csv(folder / f"{table.name}.csv", index=False)
    markdown = f"**{table.title}.** {table.caption}\n\n{as_markdown(table.frame)}\n"
    (folder / f"{table.name}.md").write_text(markdown, encoding="utf-8")
    (folder / f"{table.name}.tex").write_text(as_latex(table), encoding="utf-8")
