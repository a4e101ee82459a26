"""Whether a network gets the foreground channel: a question of how the images are normalised."""

from collections.abc import Sequence
from typing import Any


def foreground_options(use_mask_for_norm: Sequence[bool]) -> dict[str, Any]:
    """Options of the network for the plans' ``use_mask_for_norm``, an entry for each image channel.

    Only an image that is normalised inside its mask is 0 outside it. Elsewhere (CT, images with the skull, natural
    images) 0 is an intensity like any other, and "not 0" would say nothing: the channel is off.
    """
    on = len(use_mask_for_norm) > 0 and all(use_mask_for_norm)
    return {"foreground_channel": on, "image_channels": len(use_mask_for_norm)} if on else {"foreground_channel": False}
