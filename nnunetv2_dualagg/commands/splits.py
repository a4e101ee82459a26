"""``splits``: which training cases validate which fold."""

import argparse

HELP = "write splits_final.json: leave one subject out, hold cases out, folds by site, by subject, or nnU-Net's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-d", required=True, metavar="ID", help="dataset, by number or full name")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--loso", action="store_true", help="leave one subject out: one fold per subject")
    kind.add_argument(
        "--holdout", nargs="+", metavar="CASE", help="one fold, validated on these cases (iSeg_010, for example)"
    )
    kind.add_argument(
        "--by-subject",
        action="store_true",
        help="five folds by subject: all sessions of a subject (see sites.json) are on the same side",
    )
    kind.add_argument(
        "--by-site", action="store_true", help="one fold per site (see sites.json), trained and validated there alone"
    )
    kind.add_argument("--default", action="store_true", help="nnU-Net's own five folds")
    parser.add_argument("--overwrite", action="store_true", help="replace another split, if no model was trained on it")


def run(args: argparse.Namespace) -> None:
    """Write the split and say what it is."""
    from nnunetv2_dualagg.planning import splits
    from nnunetv2_dualagg.utils.nnunet_folders import case_sites, case_subjects, dataset_name, training_cases

    name = dataset_name(args.d)
    cases, subjects = training_cases(name), case_subjects(name)
    if args.loso:
        folds = splits.leave_one_out(cases, subjects)
    elif args.holdout:
        folds = splits.hold_out(cases, args.holdout, subjects)
    elif args.by_site:
        folds = splits.by_site(cases, _required(case_sites(name), name, "each case's site"), subjects)
    elif args.by_subject:
        folds = splits.by_subject(cases, _required(subjects, name, "which cases belong to one subject"))
    else:
        folds = splits.nnunet_default(cases)
    print(splits.write_splits(name, folds, overwrite=args.overwrite))
    for number, fold in enumerate(folds):
        print(f"  fold {number}: {len(fold['train'])} training cases, validated on {', '.join(fold['val'])}")
    if divided := splits.divided_subjects(folds, subjects):
        print(f"{len(divided)} subjects are both trained on and validated with; --by-subject keeps them together")


def _required(of_cases: dict[str, str] | None, name: str, what: str) -> dict[str, str]:
    from nnunetv2_dualagg.utils.errors import UserError

    if of_cases is None:
        raise UserError(f"{name} has no sites.json in nnUNet_raw; expected it to say {what}")
    return of_cases
