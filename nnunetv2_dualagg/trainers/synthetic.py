"""Training on images that are drawn from the labels: for a model that has to cope with unknown scanners."""

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers.augmentation.from_labels import ImagesFromLabelsTransform, fluids_of
from nnunetv2_dualagg.trainers.augmentation.placing import in_place_of
from nnunetv2_dualagg.trainers.default import nnUNetTrainerDualAgg


class SyntheticMixin(nnUNetTrainer):
    """Draws the images of each training patch from its labels, which have to cover the brain: 1 CSF, 2 GM, 3 WM.

    Channels named T1 and T2 show fluid dark and bright; others either way.

    nnU-Net's spatial transforms come first, so that no two patches have the same shape. Its intensity transforms are
    left out: what they do is drawn already. Validation sees the images of the dataset.

    Mix it in front of a trainer with nnU-Net's default augmentation.
    """

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """As nnU-Net; but the finished model does not mirror, which makes it up to eight times faster."""
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return settings

    def on_train_start(self) -> None:
        """Start as nnU-Net does; but save every ten epochs, since this training is long and meant to be resumed."""
        super().on_train_start()
        self.save_every: int = min(self.save_every, 10)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's transforms with the drawing of images in place of the intensity transforms."""
        names = self.dataset_json["channel_names"]
        drawing = ImagesFromLabelsTransform(fluids_of([names[key] for key in sorted(names, key=int)]))
        planned = super().get_training_transforms(*args, **kwargs).transforms
        return in_place_of(planned, _is_intensity, [drawing], type(self).__name__)


def _is_intensity(transform: BasicTransform) -> bool:
    """Whether it is one of those that nnU-Net applies at random: (without a cascade) nothing but the intensity ones."""
    return isinstance(transform, RandomTransform)


class nnUNetTrainerDualAggSynthetic(SyntheticMixin, nnUNetTrainerDualAgg):
    """The dual aggregation network on images drawn from labels."""


class nnUNetTrainerSynthetic(SyntheticMixin, nnUNetTrainer):
    """nnU-Net's own network on images drawn from labels."""
