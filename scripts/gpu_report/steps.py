"""The benchmark of PlainConvUNet, ResidualEncoderUNet and DualAggUNet at one of its settings.

    python scripts/gpu_report/steps.py -o OUT/step_3d_paper.json --device cuda paper

Compiling all six networks of ``nnUNetv2_dualagg benchmark`` would take minutes. "tiny", "tiny-resenc" and "tiny-paper"
are for a CPU.
"""

from dataclasses import asdict, replace

import torch
from common import parser, write

from nnunetv2_dualagg.benchmark.position_attention import measure_position_attention
from nnunetv2_dualagg.benchmark.run import measure, uses_compile
from nnunetv2_dualagg.benchmark.setting import BASELINE, FULL, RESENC, SETTINGS, Setting


def setting_of(name: str) -> Setting:
    """One of the benchmark's settings, or its network cut down to a CPU's size."""
    size, _, rest = name.partition("-")
    if not rest:
        return SETTINGS[size]
    tiny, ours = SETTINGS[size], dict(SETTINGS[rest].ours)
    stages = len(tiny.features)
    ours = {key: value[:stages] if isinstance(value, tuple | list) else value for key, value in ours.items()}
    if "features_per_stage" in ours:
        ours["features_per_stage"] = tiny.features
    if "n_conv_per_stage_decoder" in ours:
        ours["n_conv_per_stage_decoder"] = ours["n_conv_per_stage_decoder"][: stages - 1]
    return replace(tiny, ours=ours)


def main() -> None:
    """Measure; the file has the form of the benchmark's."""
    made = parser(__doc__)
    made.add_argument("setting", help="iseg, resenc, paper, tiny, tiny-resenc or tiny-paper")
    made.add_argument("--repeats", type=int, default=7)
    args = made.parse_args()
    setting, device = setting_of(args.setting), torch.device(args.device)
    found = {
        "options": {"setting": args.setting, "device": args.device, "torch_compile": uses_compile(device)},
        "setting": asdict(setting),
        **measure(setting, device, args.repeats, 3, (BASELINE, RESENC, FULL)),
    }
    if args.setting in ("iseg", "tiny"):
        found["position_attention"] = measure_position_attention(setting, device, args.repeats)
    write(args.o, found)


if __name__ == "__main__":
    main()
