"""Make the list of files that ``nnUNetv2_dualagg download_bobs`` fetches.

    python scripts/make_bobs_registry.py files.tsv

``files.tsv`` has the columns path, bytes and sha256 of all files in the bucket of Baby Open Brains, tab-separated.
Archives are left out, since they hold the other files once more.
"""

import argparse
import csv
import re
import sys
from collections import Counter
from pathlib import Path

from nnunetv2_dualagg.dataset_conversion.bobs import registry
from nnunetv2_dualagg.dataset_conversion.bobs.registry import RemoteFile

TARGET = Path(registry.__file__).with_name("registry.tsv")


def main() -> int:
    """Read the table, check it and write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("-o", type=Path, default=TARGET, help="default: the list in the package")
    args = parser.parse_args()
    with open(args.table, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    found = [RemoteFile(row["path"], int(row["bytes"]), row["sha256"]) for row in rows]
    found = sorted((file for file in found if not file.path.endswith(".zip")), key=lambda file: file.path)
    problems = check(found)
    for problem in problems:
        print(f"{args.table}: {problem}", file=sys.stderr)
    if problems:
        return 1
    lines = [f"{file.path}\t{file.size}\t{file.sha256}\n" for file in found]
    args.o.write_text("path\tbytes\tsha256\n" + "".join(lines), encoding="utf-8")
    sessions = {file.session for file in found if file.session}
    print(f"{args.o}: {len(found)} files, {len(sessions)} sessions, {len({s for s, _ in sessions})} infants")
    return 0


def check(found: list[RemoteFile]) -> list[str]:
    """A sentence for whatever cannot be right."""
    problems = [f"{path} comes {n} times" for path, n in Counter(f.path for f in found).items() if n > 1]
    for file in found:
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256) or file.size < 1:
            problems.append(f"{file.path} has the size {file.size} and the SHA-256 {file.sha256!r}")
        if not file.session and file.path != registry.SESSIONS_TABLE:
            problems.append(f"{file.path} is neither an image nor {registry.SESSIONS_TABLE}")
    sessions = Counter(file.session for file in found if file.session)
    problems += [f"sub-{s}/ses-{age}mo has {n} files; expected 3" for (s, age), n in sessions.items() if n != 3]
    return problems


if __name__ == "__main__":
    sys.exit(main())
