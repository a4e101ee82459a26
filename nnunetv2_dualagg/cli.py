"""The console script ``nnUNetv2_dualagg <subcommand>``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

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

FAULT = "this should not happen"
"""How the sentence for an exception begins that nobody has foreseen."""

TRACEBACK = "NNUNETV2_DUALAGG_TRACEBACK"
"""Environment variable with which exceptions are shown as Python shows them."""

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
        The exit code: 0, or 1 after an error, which is printed in one sentence on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    args = build_parser().parse_args(argv)
    return exit_code(lambda: args.run(args))


def exit_code(run: Callable[[], int | None]) -> int:
    """Run a program's work, and put whatever goes wrong into one sentence on stderr.

    Args:
        run: the work; what it returns is the exit code, and None is 0.

    Returns:
        The exit code: that of ``run``, or 1 after an error.
    """
    try:
        return run() or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
    except BaseException as error:
        if os.environ.get(TRACEBACK) or isinstance(error, (SystemExit, GeneratorExit)):
            raise
        print(f"Error: {_sentence(error)}", file=sys.stderr)
    return 1


def _sentence(error: BaseException) -> str:
    """What went wrong, for people: the one place where an exception becomes a sentence."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'input/output'}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory{f' ({error})' if str(error) else ''}; choose smaller sizes or fewer processes"
        )
    kind = type(error).__name__
    return f"{FAULT}: {kind}: {' '.join(str(error).split())[:300]}; set {TRACEBACK}=1 to see where, and report it"


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
