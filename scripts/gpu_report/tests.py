"""The tests that are marked for CUDA; on a CPU, what they check there.

python scripts/gpu_report/tests.py -o OUT/tests.json --device cuda
"""

import importlib.util
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from common import parser, write

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run them, write how each ended, and fail if one failed."""
    args = parser(__doc__).parse_args()
    if importlib.util.find_spec("pytest") is None:
        raise SystemExit("pytest is not installed")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [
            "-v",
            "--durations=0",
            "--slow",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *chosen(args.device),
        ]
        code = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT).returncode
        if not report.is_file():
            raise SystemExit(f"pytest ended with exit code {code}")
        tests = [outcome(case) for case in ET.parse(report).iter("testcase")]
    bad = [test["name"] for test in tests if test["outcome"] in ("failure", "error")]
    ran = [test for test in tests if test["outcome"] != "skipped"]
    write(args.o.with_suffix(".failed.json") if bad or not ran else args.o, {"tests": tests})
    if bad or not ran:
        raise SystemExit(f"{len(bad)} of {len(tests)} tests failed: {', '.join(bad)}" if bad else "no test ran")


def chosen(device: str) -> list[str]:
    """Options of pytest. Files without a test for CUDA are not imported: they may need packages that are missing."""
    if device == "cpu":
        return ["-k", "cpu", "tests/test_cuda.py"]
    files = [str(file) for file in sorted((ROOT / "tests").glob("test_*.py")) if "mark.gpu" in file.read_text()]
    return ["-m", "gpu", *files]


def outcome(case: ET.Element) -> dict[str, Any]:
    """Name, seconds, how it ended, and why if not well."""
    bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
    found: dict[str, Any] = {"name": case.get("name"), "seconds": float(case.get("time", 0)), "outcome": "passed"}
    if bad is not None:
        found |= {"outcome": bad.tag, "message": (bad.get("message") or "")[:300]}
    return found


if __name__ == "__main__":
    main()
