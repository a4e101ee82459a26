"""Options of a network in its checkpoints.

Some options change what a network computes but not the shapes of its weights, such as the number of keys of the
position attention. Weights that were trained with other options would load, and segment a little worse. So the
options travel with the weights, and are compared when these are loaded.
"""

import json
from typing import Any

import torch
from torch import Tensor, nn

import nnunetv2_dualagg

BYTES = 512
"""Length of a record, always the same because nnU-Net compares the shapes of all entries of two checkpoints."""


OPTIONS_OF_0_1_0 = {"residual": True, "foreground_channel": False}
"""What later versions made an option of, and what records of 0.1.0 therefore do not mention."""


class OptionsRecord(nn.Module):
    """A module whose ``state_dict`` carries its ``options`` and the version of this package."""

    options: dict[str, Any]
    """Options in types that JSON has."""

    def get_extra_state(self) -> Tensor:
        """The record, as PyTorch stores it in the ``state_dict``."""
        return encode_record({"version": nnunetv2_dualagg.__version__, **self.options})

    def set_extra_state(self, state: Tensor) -> None:
        """Compare the record of the weights that are being loaded.

        Raises:
            RuntimeError: they were trained with other options.
        """
        record = OPTIONS_OF_0_1_0 | decode_record(state)
        version = record.pop("version")
        names = [name for name in {**record, **self.options} if record.get(name) != self.options.get(name)]
        if names:
            raise RuntimeError(
                f"these weights are of a network with {_listed(record, names)} (nnunetv2_dualagg {version}), "
                f"but are loaded into one with {_listed(self.options, names)} ({nnunetv2_dualagg.__version__}); "
                "use the trainer, the plans and the version that they were trained with"
            )


def encode_record(record: dict[str, Any]) -> Tensor:
    """A record as bytes, padded with blanks to (512,) of uint8.

    Raises:
        ValueError: it is too long.
    """
    text = json.dumps(record).encode()
    if len(text) > BYTES:
        raise ValueError(f"the record of the options takes {len(text)} bytes, more than {BYTES}: {record}")
    return torch.tensor(list(text.ljust(BYTES)), dtype=torch.uint8)


def decode_record(state: Tensor) -> dict[str, Any]:
    """The record that :func:`encode_record` has encoded."""
    return json.loads(bytes(state.tolist()))


def _listed(options: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} = {json.dumps(options[name])}" if name in options else f"no {name}" for name in names)
