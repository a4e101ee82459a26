"""Imports run downwards: a room uses itself and the rooms below, and no modules import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nnunetv2_dualagg

PACKAGE = Path(nnunetv2_dualagg.__file__).parent
FLOORS = (
    {"__init__"},
    {"utils"},
    {"architectures", "simulation"},
    {"planning"},
    {"trainers"},
    {"training", "dataset_conversion"},
    {"evaluation"},
    {"inference", "ext"},
    {"benchmark", "demo", "workflow"},
    {"commands"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}


def imported(module: str) -> set[str]:
    """The modules of this package that a module imports anywhere in it, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name in MODULES} or {node.module}
    return found & MODULES.keys()


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} == FLOOR.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module):
    upwards = [
        other for other in imported(module) if room(other) != room(module) and FLOOR[room(other)] >= FLOOR[room(module)]
    ]
    assert not upwards


def test_no_circle():
    order = list(TopologicalSorter({module: imported(module) for module in MODULES}).static_order())
    assert set(order) == MODULES.keys()


def test_rules_of_the_workflow_name_modules_that_exist():
    for file in (PACKAGE / "workflow" / "rules.smk", PACKAGE / "workflow" / "files" / "Snakefile"):
        lines = [line for line in file.read_text().splitlines() if line.startswith("from nnunetv2_dualagg")]
        assert lines
        assert {line.split()[1] for line in lines} <= MODULES.keys()
