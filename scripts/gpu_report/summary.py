"""Put the parts of a report together: OUT/report.json, and a table on the screen.

    python scripts/gpu_report/summary.py OUT PART ...

The exit code is 1 if one of the parts is not there.
"""

import json
import sys
from pathlib import Path
from typing import Any

from common import write

from nnunetv2_dualagg.utils.markdown import markdown_table

FULL, RESENC = "DualAggUNet", "ResidualEncoderUNet"  # the benchmark's names, without importing PyTorch for them


def main(out: Path, names: list[str]) -> int:
    """Write and print what is there, and say what is missing."""
    runs = [line.split("\t") for line in read(out / "times.tsv").splitlines()]
    times = {name: (int(seconds), int(code)) for name, seconds, code in runs}  # of each part the last one
    present = {name: json.loads(read(out / f"{name}.json")) for name in names if (out / f"{name}.json").is_file()}
    rows, parts = [], {}
    for name in names:
        seconds, code = times.get(name, (None, None))
        state = "done" if name in present else state_of(code)
        said = headline(name, present[name]) if name in present else last_line(out / "logs" / f"{name}.log")
        parts[name] = {"state": state, "seconds": seconds, "result": present.get(name)}
        rows.append((name, state, "" if seconds is None else f"{seconds} s", said))
    machine = present.get("machine", {})
    write(out / "report.json", {**machine, "goals": goals(present), "parts": parts})
    print(f"\n{describe(machine)}\n\n{markdown_table(('part', 'state', 'time', ''), rows)}\n")
    if goals(present):
        print(markdown_table(("goal", "found", "wanted", "reached"), [tuple(goal.values()) for goal in goals(present)]))
    print(f"\nAll of it: {out / 'report.json'}; to commit as docs/results/gpu_MACHINE.json")
    missing = [name for name in names if name not in present]
    if missing:
        print(f"Not done: {', '.join(missing)}. The same command tries again; logs are in {out / 'logs'}")
    return 1 if missing else 0


def read(file: Path) -> str:
    """The text of a file; that of none is empty."""
    return file.read_text(errors="replace") if file.is_file() else ""


def state_of(code: int | None) -> str:
    """What became of a part that has left no file."""
    if code is None:
        return "not run"
    return "out of time" if code in (124, 137) else f"failed ({code})"


def last_line(log: Path) -> str:
    """What a part said last."""
    lines = [line.strip() for line in read(log).replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:150] if lines else ""


def describe(machine: dict[str, Any]) -> str:
    """A line on the machine."""
    if not machine:
        return "unknown machine"
    found, versions = machine["machine"], machine["versions"]
    cuda = f", CUDA {found['cuda']}, cuDNN {found['cudnn']}" if "cuda" in found else ""
    return f"{found.get('cuda_device') or found['processor']}, PyTorch {versions['torch']}{cuda}, {machine['date']}"


def headline(name: str, found: dict[str, Any]) -> str:
    """What matters most of a part."""
    if name == "tests":
        passed = sum(test["outcome"] == "passed" for test in found["tests"])
        return f"{passed} passed, {len(found['tests']) - passed} skipped"
    if name.startswith("step_"):
        return ", ".join(f"{network} {with_range(found, network)}" for network in (RESENC, FULL))
    if name == "kernels":
        shares = found[FULL]["ms_by_kind"]
        total = sum(shares.values()) or 1
        operators = ", ".join(found[FULL]["attention_operators"]) or "none"
        return f"attention by {operators}; " + ", ".join(f"{kind} {ms / total:.0%}" for kind, ms in shares.items())
    if name.startswith("epochs"):
        return ", ".join(f"{key}: {t['epoch_seconds']:.0f} s, waits {t['wait_share']:.0%}" for key, t in found.items())
    if name.startswith("volume_"):
        commands = ", ".join(f"{command} {seconds:.1f} s" for command, seconds in found["commands"].items())
        return f"windows {found['windows']['ours_seconds']:.2f} s, {commands}"
    return ""


def with_range(found: dict[str, Any], network: str) -> str:
    """A network's training step relative to PlainConvUNet's."""
    low, high = found["ratio_ranges"][network]["step_seconds"]
    return f"{found['ratios'][network]['step_seconds']:.2f}x ({low:.2f}-{high:.2f})"


def goals(present: dict[str, Any]) -> list[dict[str, Any]]:
    """What the network is to reach on a data-centre GPU, and what was found; nothing for a CPU's tiny sizes."""
    found: list[dict[str, Any]] = []
    if present.get("machine", {}).get("device") != "cuda":
        return found
    if "step_3d_fullres" in present:
        ratios = {name: values["step_seconds"] for name, values in present["step_3d_fullres"]["ratios"].items()}
        shown = with_range(present["step_3d_fullres"], FULL)
        found.append(goal("training step at 3d_fullres", shown, "at most 1.20x PlainConvUNet's", ratios[FULL] <= 1.2))
        wanted = f"below ResEnc M's {ratios[RESENC]:.2f}x"
        found.append(goal("training step at 3d_fullres", shown, wanted, ratios[FULL] < ratios[RESENC]))
    for name, what, most in (("volume_3d_fullres", "half-overlapping", 2), ("volume_3d_paper", "a quarter's step", 10)):
        if name in present:
            seconds = present[name]["windows"]["ours_seconds"]
            label = f"all windows of 256^3 voxels, {what}"
            found.append(goal(label, f"{seconds:.2f} s", f"under {most} s", seconds < most))
    return found


def goal(what: str, found: str, wanted: str, reached: bool) -> dict[str, Any]:
    """A row of the table of goals."""
    return {"goal": what, "found": found, "wanted": wanted, "reached": "yes" if reached else "no"}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
