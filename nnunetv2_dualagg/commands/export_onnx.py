"""``export_onnx``: a trained model as an ONNX file."""

import argparse

from nnunetv2_dualagg.utils.options import fold

HELP = "export a trained model to an ONNX file (a normalised patch in, logits out)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; -m, -f and -chk are those of nnUNetv2_predict_from_modelfolder."""
    parser.add_argument("-m", required=True, metavar="DIR", help="folder of the trained model, with its fold_X folders")
    parser.add_argument("-o", required=True, metavar="FILE", help="ONNX file to write")
    parser.add_argument(
        "-f",
        type=fold,
        nargs="+",
        default=(0, 1, 2, 3, 4),
        metavar="FOLD",
        help="folds whose logits are averaged (default: 0 1 2 3 4)",
    )
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", metavar="NAME", help="checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing -o")


def run(args: argparse.Namespace) -> None:
    """Export and say what the file takes and how well it agrees with PyTorch."""
    from nnunetv2_dualagg.inference.export_onnx import OPSET, export_onnx

    exported = export_onnx(args.m, args.o, args.f, args.chk, args.overwrite)
    shape = " x ".join(map(str, exported.input_shape))
    print(
        f"Wrote {exported.file}: opset {OPSET}, input batch x {shape}; ONNX Runtime and PyTorch differ by "
        f"{exported.difference:.1e} of the largest logit"
    )
