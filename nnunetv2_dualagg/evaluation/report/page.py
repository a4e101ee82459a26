"""Writing the report: one HTML file that holds tables, figures, volumes and the viewer."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.evaluation.report.figures import Figure
from nnunetv2_dualagg.evaluation.report.tables import OURS
from nnunetv2_dualagg.evaluation.report.volumes import View
from nnunetv2_dualagg.utils.colours import ERROR, TISSUES, colour_map
from nnunetv2_dualagg.utils.tables import Table, flat_columns

ASSETS = files(__package__) / "assets"


@dataclass(frozen=True)
class Report:
    """What the report says.

    Attributes:
        methods: method -> its folders.
        reference: the folder of references.
        cases: how many cases were compared, by site.
        conclusions: sentences.
        skipped: a sentence per case that was left out.
        tables: the tables, the most important first.
        figures: the figures.
        views: the viewer's cases.
        without_view: cases for which the viewer had no room.
        tissues: the tissues' names, in the order of their numbers in the views.
    """

    methods: Mapping[str, Sequence[Path]]
    reference: Path
    cases: Mapping[str, int]
    conclusions: Sequence[str]
    skipped: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    views: Sequence[View]
    without_view: Sequence[str]
    tissues: Sequence[str]


def write_report(report: Report, file: Path) -> None:
    """Render the report.

    Args:
        report: its content. All strings are escaped.
        file: the HTML file to write.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    assets = {name: Markup(_asset(name)) for name in ("report.css", "report.js", "niivue.umd.js")}
    colours = colour_map(report.tissues, TISSUES)
    viewer = {
        "views": [_without_data(view, index) for index, view in enumerate(report.views)],
        "colours": {name: _rgb(colour) for name, colour in colours.items()},
        "error": _rgb(ERROR),
    }
    html = environment.from_string(_asset("report.html.j2")).render(
        report=report,
        figures=[(figure, base64.b64encode(figure.file.read_bytes()).decode("ascii")) for figure in report.figures],
        tables=[(table, flat_columns(table.frame), _bodies(table)) for table in report.tables],
        assets=assets,
        licences=_asset("NIIVUE_LICENSES.txt"),
        version=__version__,
        viewer=viewer,
        colours=colours,
        error_colour=ERROR,
    )
    file.write_text(html, encoding="utf-8")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _bodies(table: Table) -> list[list[list[str]]]:
    """The rows, ours and the published ones apart, so that sorting can keep them apart."""
    rows = table.frame.astype(str).to_numpy().tolist()
    names = flat_columns(table.frame)
    if "data" not in names:
        return [rows]
    ours = [row for row in rows if row[names.index("data")] == OURS]
    return [ours, [row for row in rows if row not in ours]]


def _without_data(view: View, index: int) -> dict:
    """What the script has to know of a view; the volumes themselves lie in elements of their own, read when shown."""
    layers = [{"name": layer.name, "kind": layer.kind, "id": f"v{index}-{n}"} for n, layer in enumerate(view.layers)]
    title = f"{view.site}: {view.case} ({view.rank}, mean Dice {view.dice:.3f})"
    return {"title": title, "focus": view.focus, "layers": layers}


def _rgb(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
