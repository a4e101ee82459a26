"""What the benchmark prints: ratios to PlainConvUNet first, absolute numbers behind them."""

from typing import Any

from nnunetv2_dualagg.benchmark.measure import ratio_range
from nnunetv2_dualagg.utils.markdown import markdown_table

MIB = 2**20
COLUMNS = {
    "step_seconds": "training step",
    "peak_bytes": "peak memory",
    "patch_seconds": "patch",
    "volume_seconds": "volume",
    "flops": "FLOPs",
    "parameters": "parameters",
}


def ratios_table(ratios: dict[str, dict[str, float]], ranges: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Multiples of PlainConvUNet, one row per network; of times with the lowest and the highest of all rounds."""
    rows = [
        (name, *(f"{values[key]:.2f}x{_range(ranges.get(name, {}).get(key), 2)}" for key in COLUMNS))
        for name, values in ratios.items()
    ]
    return markdown_table(("network", *COLUMNS.values()), rows, numbers_from=1)


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
    return markdown_table(("network", *COLUMNS.values()), rows, numbers_from=1)


def parts_table(parts: dict[str, dict[str, Any]]) -> str:
    """Shares of DualAggUNet's parts; of the time with the lowest and the highest of all rounds."""
    rows = []
    for part, share in parts.items():
        spread = ""
        if "time_range" in share:
            low, high = share["time_range"]
            spread = f" ({low:.1%}-{high:.1%})"
        rows.append((part, f"{share['time']:.1%}{spread}", f"{share['flops']:.1%}", f"{share['parameters']:.1%}"))
    return markdown_table(("part of DualAggUNet", "time of a step", "FLOPs", "parameters"), rows, numbers_from=1)


def attention_table(attention: dict[str, Any]) -> str:
    """Forward and backward by the size of the map: with the default keys, with all keys, and the naive one."""
    ours, exact, naive = (attention[variant] for variant in ("ours", "exact", "naive"))
    header = (
        "map",
        "naive/exact time",
        "memory",
        "ours/row above",
        "ours",
        "memory",
        "exact",
        "memory",
        "naive",
        "memory",
    )
    rows, above = [], None
    for side in ours:
        slower = memory = growth = ""
        if side in naive:
            slower = _times_as_long(naive[side], exact[side])
            memory = f"{naive[side]['peak_bytes'] / exact[side]['peak_bytes']:.1f}x"
        if above:
            growth = _times_as_long(ours[side], above)
        absolute = [cell for values in (ours, exact, naive) for cell in _time_and_memory(values.get(side))]
        rows.append((f"{side}^3", slower, memory, growth, *absolute))
        above = ours[side]
    return markdown_table(header, rows, numbers_from=1)


def _times_as_long(values: dict[str, Any], reference: dict[str, Any]) -> str:
    spread = ratio_range(values["all_seconds"], reference["all_seconds"])
    return f"{values['seconds'] / reference['seconds']:.1f}x{_range(spread, 1)}"


def _range(spread: tuple[float, float] | None, digits: int) -> str:
    return "" if spread is None else f" ({spread[0]:.{digits}f}-{spread[1]:.{digits}f})"


def _time_and_memory(values: dict[str, float] | None) -> tuple[str, str]:
    if values is None:
        return "", ""
    return _seconds(values["seconds"]), f"{values['peak_bytes'] / MIB:.1f} MiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
