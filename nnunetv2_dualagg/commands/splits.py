"""``splits``: which training cases validate which fold."""

import argparse

HELP = "write splits_final.json: leave one subject out, hold subjects out, or nnU-Net's five folds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-d", required=True, metavar="ID", help="dataset, by number or full name")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--loso", action="store_true", help="leave one subject (that is, one case) out: a fold each")
    kind.add_argument(
        "--holdout", nargs="+", metavar="CASE", help="one fold, validated on these cases (iSeg_010, for example)"
    )
    kind.add_argument("--default", action="store_true", help="nnU-Net's own five folds")
    parser.add_argument("--overwrite", action="store_true", help="replace another split, if no model was trained on it")


def run(args: argparse.Namespace) -> None:
    """Write the split and say what it is."""
    from nnunetv2_dualagg.planning import splits
    from nnunetv2_dualagg.utils.nnunet_folders import dataset_name, training_cases

    name = dataset_name(args.d)
    cases = training_cases(name)
    if args.loso:
        folds = splits.leave_one_out(cases)
    elif args.holdout:
        folds = splits.hold_out(cases, args.holdout)
    else:
        folds = splits.nnunet_default(cases)
    print(splits.write_splits(name, folds, overwrite=args.overwrite))
    for number, fold in enumerate(folds):
        print(f"  fold {number}: {len(fold['train'])} training cases, validated on {', '.join(fold['val'])}")
