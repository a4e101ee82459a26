"""Add the configuration 3d_paper to plans of nnU-Net, for the data that were preprocessed with them."""

import json
import sys
from pathlib import Path

from nnunetv2_dualagg.planning.paper import PAPER_CONFIGURATION, paper_configuration
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

file = Path(sys.argv[1])
plans = json.loads(file.read_text())
plans["configurations"][PAPER_CONFIGURATION] = paper_configuration(DUALAGG_UNET)
with new_file(file, overwrite=True) as part:
    part.write_text(json.dumps(plans, indent=4))
