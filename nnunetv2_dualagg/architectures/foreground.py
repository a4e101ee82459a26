"""Using what is known about the background: the image is 0 there.

nnU-Net standardises inside the mask of the brain, which puts the background at 0, the mean of the brain. A network then
has to guess from the texture around a voxel whether it sees background or tissue of average intensity. One more input
channel tells it (as in Futrega et al., "Optimized U-Net for Brain Tumor Segmentation", BraTS 2021). Where a window
holds no brain at all, the channel cannot help: all maps are constant, and instance normalisation makes the output
arbitrary. There, and in holes, a rule on the logits applies what the training data shows without exception.
"""

from typing import cast

import torch
from torch import Tensor, nn

SMALLEST = 1e-3
"""Intensity, in standard deviations, below which a voxel counts as background. Resampling with splines leaves waves
around the brain that fade to this within five voxels, but hardly ever to exactly 0."""

MOST_WAVES = 5e-3
"""A window with a larger share of voxels between 0 and ``SMALLEST`` shows an image that was resampled."""

MOST_DARKEST = 20
"""A window with more labelled voxels at the smallest intensity of each channel shows background that was standardised.
Of brain, hardly more than one voxel is the darkest."""

KNOWN = 30.0
"""Distance that the rule keeps between logits. Half precision can add it up over all windows of a prediction."""


def foreground_channel(x: Tensor, image_channels: int) -> Tensor:
    """1 where any image channel is not 0, to ``SMALLEST``.

    Args:
        x: (B, C, *spatial).
        image_channels: number of channels, from the first, that are images (a cascade appends labels).

    Returns:
        (B, 1, *spatial) of the type of ``x``.
    """
    return (_strength(x, image_channels) > SMALLEST).to(x.dtype)


class KnownBackground(nn.Module):
    """Background where the image is 0, and none inside: a rule on the logits in eval mode.

    Each half is off until :meth:`set_rule` switches it on. It is a buffer, so that it is saved with the weights, and
    its shape does not depend on the classes, so that it loads into a network for others.

    Args:
        image_channels: number of channels, from the first, that are images.
    """

    def __init__(self, image_channels: int) -> None:
        super().__init__()
        self.image_channels = image_channels
        # uint8, since not every backend of DistributedDataParallel sends bool.
        self.register_buffer("rule", torch.zeros(3, dtype=torch.uint8))

    def set_rule(self, outside: bool, inside: bool, regions: bool = False) -> None:
        """Switch the halves of the rule on or off.

        Args:
            outside: background wherever all image channels are exactly 0.
            inside: no background anywhere else. Not for regions.
            regions: the classes are regions, each decided for itself, without a channel for the background.
        """
        values = torch.tensor([outside, inside and not regions, regions], dtype=torch.uint8)
        cast(Tensor, self.rule).copy_(values)

    def restore(self, x: Tensor) -> Tensor:
        """The input (B, C, *spatial) of a cascade's second stage with its background at 0, as it was in training.

        When nnU-Net predicts, it takes for the mask where the image is not 0 *or the first stage labels tissue*, and
        standardises there. A voxel of background that was labelled then has what became of 0: in images without
        negative intensities, the smallest value of each channel. Without labels, and in training, nothing changes.
        """
        if self.training or x.shape[1] == self.image_channels:
            return x
        outside_is_known = cast(Tensor, self.rule)[0].bool()
        images, labels = x[:, : self.image_channels], x[:, self.image_channels :]
        axes = tuple(range(2, x.ndim))
        darkest = (images == images.amin(dim=axes, keepdim=True)).all(dim=1, keepdim=True)
        painted = darkest & (labels > 0).any(dim=1, keepdim=True)
        many = painted.sum(dim=axes, keepdim=True) > MOST_DARKEST
        return torch.cat([images.masked_fill(painted & many & outside_is_known, 0), labels], dim=1)

    def forward(self, logits: Tensor, x: Tensor) -> Tensor:
        """Logits (B, classes, *spatial) of the input ``x`` (B, C, *spatial), with what is known; unchanged in training.

        Data decides by values and never by branches, so that torch.compile and ONNX keep the rule.
        """
        if self.training:
            return logits
        outside_is_known, inside_is_known, regions = cast(Tensor, self.rule).bool().unbind()
        strength = _strength(x, self.image_channels)
        outside = (strength == 0) & outside_is_known
        inside = (strength > 0) & inside_is_known & ~_resampled(strength)
        tissue = logits[:, 1:]
        lowest = tissue.amin(dim=1, keepdim=True) if tissue.shape[1] else logits
        below = torch.minimum(logits[:, :1], lowest - KNOWN)
        allowed = torch.cat([torch.where(inside, below, logits[:, :1]), tissue], dim=1)
        background = torch.where(regions, -KNOWN, KNOWN).to(logits.dtype).reshape(1)
        known = torch.cat([background, logits.new_full((tissue.shape[1],), -KNOWN)])
        known = known.reshape(1, -1, *(1 for _ in logits.shape[2:]))
        return torch.where(outside, known, allowed)


class ForegroundUNet(nn.Module):
    """A network of nnU-Net with the foreground channel and the known background.

    Args:
        network: built for ``image_channels`` (and in a cascade the labels) plus one channel, the last.
        image_channels: number of channels, from the first, that are images.
    """

    def __init__(self, network: nn.Module, image_channels: int) -> None:
        super().__init__()
        self.network = network
        self.known_background = KnownBackground(image_channels)

    @property
    def encoder(self) -> nn.Module:
        """The network's encoder."""
        return cast(nn.Module, self.network.encoder)

    @property
    def decoder(self) -> nn.Module:
        """The network's decoder, whose ``deep_supervision`` nnU-Net switches."""
        return cast(nn.Module, self.network.decoder)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, C, *spatial) -> logits (B, classes, *spatial), or a list with deep supervision."""
        x = self.known_background.restore(x)
        channel = foreground_channel(x, self.known_background.image_channels)
        return apply_rule(self.known_background, self.network(torch.cat([x, channel], dim=1)), x)


def apply_rule(rule: KnownBackground, output: Tensor | list[Tensor], x: Tensor) -> Tensor | list[Tensor]:
    """The rule on the logits at full resolution; those of lower resolutions serve the loss alone."""
    if isinstance(output, Tensor):
        return rule(output, x)
    return [rule(output[0], x), *output[1:]]


def _strength(x: Tensor, image_channels: int) -> Tensor:
    """The largest absolute intensity of each voxel's image channels, (B, 1, *spatial)."""
    return x[:, :image_channels].abs().amax(dim=1, keepdim=True)


def _resampled(strength: Tensor) -> Tensor:
    """(B, 1, ..., 1): whether a window has waves of resampling around the brain, which are neither image nor 0.

    An image on its own grid has (almost) no such small values, and then everything that is not 0 is inside.
    """
    axes = tuple(range(1, strength.ndim))
    waves = (strength > 0) & (strength <= SMALLEST)
    return waves.to(torch.float32).mean(dim=axes, keepdim=True) > MOST_WAVES
