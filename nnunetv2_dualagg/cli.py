"""The console script ``nnUNetv2_dualagg <subcommand>``."""

import argparse
import sys
from collections.abc import Sequence

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.commands import (
    add_configuration,
    benchmark,
    compare,
    convert_bobs,
    convert_iseg,
    curves,
    demo,
    download_bobs,
    export_onnx,
    pack_model,
    path,
    phantom,
    plan,
    segment,
    splits,
    submit_iseg,
    train,
    unpack_model,
    workflow,
)
from nnunetv2_dualagg.utils.errors import UserError

# A command module has HELP, add_arguments(parser) and run(args) -> exit code or None. It imports heavy packages
# inside run, so that --help is instant.
COMMANDS = {
    "add_configuration": add_configuration,
    "benchmark": benchmark,
    "compare": compare,
    "convert_bobs": convert_bobs,
    "convert_iseg": convert_iseg,
    "curves": curves,
    "demo": demo,
    "download_bobs": download_bobs,
    "export_onnx": export_onnx,
    "pack_model": pack_model,
    "path": path,
    "phantom": phantom,
    "plan": plan,
    "segment": segment,
    "splits": splits,
    "submit_iseg": submit_iseg,
    "train": train,
    "unpack_model": unpack_model,
    "workflow": workflow,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments after the program's name; ``sys.argv[1:]`` if None.

    Returns:
        The exit code: 0, or 1 after an error that has been told in one sentence on stderr.
    """
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"Error: {error.filename or 'input/output'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """The argument parser with all subcommands."""
    parser = argparse.ArgumentParser(prog="nnUNetv2_dualagg", description="Dual aggregation network for nnU-Net v2.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(title="subcommands", metavar="<subcommand>", required=True)
    for name, module in COMMANDS.items():
        sub = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
