"""Training for scanners that are not in the training data: wider intensity augmentation, drawn for each modality.

``docs/cross_site.md`` has the reasons for the ranges, what they cover and what they cost.
"""

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import (
    BrightnessAdditiveTransform,
    MultiplicativeBrightnessTransform,
)
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers.augmentation.histogram import HistogramRemapTransform, LogUniform
from nnunetv2_dualagg.trainers.augmentation.lost_modality import LostModalityTransform
from nnunetv2_dualagg.trainers.augmentation.placing import in_place_of
from nnunetv2_dualagg.trainers.default import nnUNetTrainerDualAgg
from nnunetv2_dualagg.trainers.foreground import nnUNetTrainerForeground

# Simulated low resolution is not among them: nnU-Net's stays, behind ours.
_REPLACED = (
    GaussianNoiseTransform,
    GaussianBlurTransform,
    MultiplicativeBrightnessTransform,
    ContrastTransform,
    GammaTransform,
)


def site_intensity_transforms() -> list[BasicTransform]:
    """What a change of site does to an image, as far as nnU-Net's normalisation does not undo it.

    The order is that of a scan: contrast of the tissues, bias field, point spread, noise. Every transform chooses and
    draws for each modality (channel) by itself, but for the first: no sample loses two. Intensities are in standard
    deviations of the standardised image.
    """
    return [
        # At a site where T2 has more noise and field than contrast, T1 has to do.
        LostModalityTransform(
            ComposeTransforms([_bias_field(), GaussianNoiseTransform(noise_variance=(1, 1.35))]), probability=0.2
        ),
        # Distances of tissues: (WM - GM) / (GM - CSF) of the phantom's sites is 0.75 to 2 times the training site's.
        # The mean and the SD of the brain are kept, so a stretched piece of the histogram costs the others:
        # it takes slopes from 1/3 to 3 to reach such ratios. This covers the authors' clipped contrast x4.7, too.
        HistogramRemapTransform(LogUniform(3), num_knots=3, p_per_channel=0.3),
        # The authors' 1.8, and its reciprocal; half of the time on the inverted image, as nnU-Net does it.
        GammaTransform(
            BGContrast((1 / 1.8, 1.8)),
            p_invert_image=0.5,
            synchronize_channels=False,
            p_per_channel=0.2,
            p_retain_stats=1,
        ),
        # Up to the authors' 1.5 on T2, and its reciprocal. A linear change of the whole image is undone by the
        # normalisation; what is left, here and below, is what tissues outside the patch do to its mean and SD.
        ContrastTransform(
            BGContrast((1 / 1.5, 1.5)), preserve_range=True, synchronize_channels=False, p_per_channel=0.15
        ),
        BrightnessAdditiveTransform(mu=0, sigma=0.2, synchronize_channels=False, p_per_channel=0.15),
        _bias_field(p_per_channel=0.25),
        # Full width at half maximum of 0.7 to 2.4 voxels.
        GaussianBlurTransform(
            blur_sigma=(0.3, 1.0), synchronize_channels=False, synchronize_axes=False, p_per_channel=0.1
        ),
        # noise_variance is the noise's standard deviation, despite its name. T1 has noise of 0.26 at the training site
        # and up to 0.37 at the others, so up to 0.26 is to be added.
        GaussianNoiseTransform(noise_variance=(0, 0.35), p_per_channel=0.1, synchronize_channels=False),
    ]


def _bias_field(p_per_channel: float = 1.0) -> BasicTransform:
    """A Gaussian bump in or around the patch, for each channel by itself.

    A bias field multiplies the raw image, whose mean is 4 to 5 SD: on the standardised image that is about an addition,
    1.5 SD being 30 %. As smooth as a field with a knot every 6 cm.
    """
    return BrightnessGradientAdditiveTransform(
        scale=(25, 75),
        loc=(-0.5, 1.5),
        max_strength=(-1.5, 1.5),
        same_for_all_channels=False,
        p_per_channel=p_per_channel,
    )


class SiteAugmentationMixin(nnUNetTrainer):
    """Puts :func:`site_intensity_transforms` in the place of nnU-Net's noise, blur, brightness, contrast and gamma.

    The rest of nnU-Net's list stays: spatial transforms, simulated low resolution, mirroring, masking, the previous
    stage of a cascade, regions, deep supervision. Mix it in front of a trainer with nnU-Net's default augmentation.
    """

    @classmethod
    def get_training_transforms(cls, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's transforms with our intensity transforms; the arguments are nnU-Net's."""
        planned = super().get_training_transforms(*args, **kwargs).transforms
        return in_place_of(planned, _is_replaced, site_intensity_transforms(), cls.__name__)


def _is_replaced(transform: BasicTransform) -> bool:
    return isinstance(transform, RandomTransform) and isinstance(transform.transform, _REPLACED)


class nnUNetTrainerSite(SiteAugmentationMixin, nnUNetTrainer):
    """nnU-Net's own network with the augmentation for other sites."""


class nnUNetTrainerForegroundSite(SiteAugmentationMixin, nnUNetTrainerForeground):
    """nnU-Net's own network with the foreground channel and the augmentation: all of ours but the architecture."""


class nnUNetTrainerDualAggSite(SiteAugmentationMixin, nnUNetTrainerDualAgg):
    """The dual aggregation network with the augmentation for other sites."""
