"""Which machine, and which versions.

python scripts/gpu_report/machine.py -o OUT/machine.json --device cuda
"""

import platform
from datetime import datetime, timezone
from importlib.metadata import version

import torch
from common import parser, write

from nnunetv2_dualagg.benchmark.run import PACKAGES, describe_machine


def main() -> None:
    """Write what there is; fail where the device is not."""
    args = parser(__doc__).parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA device")
    found = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": args.device,
        "machine": describe_machine(torch.device(args.device)),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
    }
    write(args.o, found)


if __name__ == "__main__":
    main()
