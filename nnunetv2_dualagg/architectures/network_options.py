"""Options of the network that plans and trainers give it, where nothing else is asked for.

The defaults of :class:`DualAggUNet` itself are those of version 0.1.0, so that its plans keep their meaning.
``docs/results/ablation_phantom.md`` says what was tried.
"""

from collections.abc import Mapping, Sequence
from typing import Any

UNDILATED_SHARE = 5 / 8


def network_options(arch_kwargs: Mapping[str, Any], use_mask_for_norm: Sequence[bool]) -> dict[str, Any]:
    """Options of :class:`DualAggUNet` for a configuration of the plans.

    Convolutions that the plans count as such (``n_conv_per_stage``) are plain, as in PlainConvUNet; blocks that they
    count as blocks (``n_blocks_per_stage``) are residual, as in ResidualEncoderUNet.
    """
    residual = "n_blocks_per_stage" in arch_kwargs
    return {"residual": residual, "undilated_share": UNDILATED_SHARE, **foreground_options(use_mask_for_norm)}


def foreground_options(use_mask_for_norm: Sequence[bool]) -> dict[str, Any]:
    """Whether a network gets the foreground channel, by the plans' ``use_mask_for_norm`` (one per image channel).

    Only an image that is normalised inside its mask is 0 outside it. Elsewhere (CT, images with the skull, natural
    images) 0 is an intensity like any other, and "not 0" would say nothing: the channel is off.
    """
    on = len(use_mask_for_norm) > 0 and all(use_mask_for_norm)
    return {"foreground_channel": on, "image_channels": len(use_mask_for_norm)} if on else {"foreground_channel": False}
