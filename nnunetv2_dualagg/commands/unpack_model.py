"""``unpack_model``: a model file as a folder for nnU-Net's commands."""

import argparse

HELP = "turn a model file back into a folder for nnU-Net's commands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-i",
        metavar="FILE.safetensors",
        help="file that pack_model wrote (default: the model that comes with the package)",
    )
    parser.add_argument(
        "-o", metavar="DIR", help="folder to make (default: the place in nnUNet_results where nnUNetv2_predict looks)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> None:
    """Unpack and say how to use the folder."""
    from nnunetv2.paths import nnUNet_results

    from nnunetv2_dualagg.inference.bundle import INSTALLED, read_bundle
    from nnunetv2_dualagg.inference.packing import results_folder, unpack_model
    from nnunetv2_dualagg.utils.errors import UserError

    file, output = args.i or INSTALLED, args.o
    if output is None:
        if not nnUNet_results.is_set():
            raise UserError("nnUNet_results is not set; set it, or give the folder with -o")
        output = f"{nnUNet_results.require()}/{results_folder(read_bundle(file).content)}"
    folder = unpack_model(file, output, args.overwrite)
    print(f"Wrote {folder}; use it with nnUNetv2_predict_from_modelfolder -m {folder}")
