"""Check that wheel and source distribution hold every file of the package that git tracks.

python scripts/check_package.py dist
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "nnunetv2_dualagg/"


def main(folder: Path) -> int:
    """Print what is missing; 1 if anything is."""
    listed = subprocess.run(["git", "ls-files", PACKAGE], capture_output=True, text=True, check=True).stdout.split()
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = set(opened.namelist())
    with tarfile.open(archive) as opened:
        in_archive = {name.partition("/")[2] for name in opened.getnames()}
    missing = {file.name: sorted(set(listed) - held) for file, held in ((wheel, in_wheel), (archive, in_archive))}
    strangers = sorted(name for name in in_wheel if name.split("/")[0] in ("tests", "scripts", "docs"))
    for name, files in missing.items():
        print(
            f"{name}: {len(listed) - len(files)} of {len(listed)} files", *files, sep="\n  missing: " if files else ""
        )
    print(*(f"{wheel.name} should not hold {name}" for name in strangers), sep="\n", end="\n" if strangers else "")
    return 1 if strangers or any(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
