"""What the benchmark prints: ratios to PlainConvUNet first, absolute numbers behind them."""

from collections.abc import Sequence
from typing import Any

MIB = 2**20
COLUMNS = {
    "step_seconds": "training step",
    "peak_bytes": "peak memory",
    "patch_seconds": "patch",
    "volume_seconds": "volume",
    "flops": "FLOPs",
    "parameters": "parameters",
}


def ratios_table(ratios: dict[str, dict[str, float]]) -> str:
    """Multiples of PlainConvUNet, one row a network."""
    rows = [(name, *(f"{values[key]:.2f}x" for key in COLUMNS)) for name, values in ratios.items()]
    return markdown(("network", *COLUMNS.values()), rows)


def networks_table(networks: dict[str, dict[str, Any]]) -> str:
    """Absolute numbers; training step and memory are of the whole batch, FLOPs of a patch's forward pass."""
    rows = [
        (
            name,
            _seconds(values["step_seconds"]),
            f"{values['peak_bytes'] / MIB:.0f} MiB",
            _seconds(values["patch_seconds"]),
            _seconds(values["volume_seconds"]),
            f"{values['flops'] / 1e9:.1f} G",
            f"{values['parameters'] / 1e6:.2f} M",
        )
        for name, values in networks.items()
    ]
    return markdown(("network", *COLUMNS.values()), rows)


def parts_table(parts: dict[str, dict[str, float]]) -> str:
    """Shares of DualAggUNet's parts."""
    rows = [(part, *(f"{share[key]:.1%}" for key in ("time", "flops", "parameters"))) for part, share in parts.items()]
    return markdown(("part of DualAggUNet", "time of a step", "FLOPs", "parameters"), rows)


def attention_table(attention: dict[str, Any]) -> str:
    """Ours and the naive one by the side of the map, forward and backward."""
    header = (
        "voxels",
        "naive/ours time",
        "naive/ours memory",
        "time per previous",
        "ours",
        "memory",
        "naive",
        "memory",
    )
    rows, previous = [], None
    for side, ours in attention["ours"].items():
        naive = attention["naive"].get(side)
        rows.append(
            (
                f"{side}^3",
                f"{naive['seconds'] / ours['seconds']:.1f}x" if naive else "",
                f"{naive['peak_bytes'] / ours['peak_bytes']:.1f}x" if naive else "",
                f"{ours['seconds'] / previous:.1f}x" if previous else "",
                *(_time_and_memory(ours) + _time_and_memory(naive)),
            )
        )
        previous = ours["seconds"]
    return markdown(header, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown with aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def _time_and_memory(values: dict[str, float] | None) -> tuple[str, str]:
    if values is None:
        return "", ""
    return _seconds(values["seconds"]), f"{values['peak_bytes'] / MIB:.1f} MiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
