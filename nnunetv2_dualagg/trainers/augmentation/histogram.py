"""Monotone histogram remapping, the one intensity transform for other sites that batchgeneratorsv2 does not have."""

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar, sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform


class HistogramRemapTransform(ImageOnlyTransform):
    """Replace each intensity by a random increasing, piecewise linear function of it; mean and deviation stay.

    Between two random knots the function has a constant slope, so the distance of two tissues in one part of the
    histogram grows while that of two others shrinks; their order stays. Mean and standard deviation of the channel
    stay, because nnU-Net standardises images before they are augmented, and those of another site as well.

    It is a sum of ramps, which costs less than a gamma transform and far less than a table look-up.

    After the histogram shift of MONAI (``RandHistogramShift``), which moves the values at evenly spaced knots instead.

    Args:
        slope: the slope of a piece; :class:`LogUniform` treats stretching and compressing alike. Must be positive.
        num_knots: number of knots; the function has one piece more.
        spread: knots lie within this many standard deviations of the channel's mean.
        p_per_channel: probability of each channel, which gets a function of its own.
    """

    def __init__(
        self, slope: RandomScalar, num_knots: int = 3, spread: float = 2.0, p_per_channel: float = 1.0
    ) -> None:
        super().__init__()
        self.slope = slope
        self.num_knots = num_knots
        self.spread = spread
        self.p_per_channel = p_per_channel

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the functions: for each chosen channel its knots (in deviations from the mean) and its slopes.

        Everything comes from NumPy's generator: nnU-Net seeds it in each of its workers, but not torch's.
        """
        image = data_dict["image"]
        channels = [c for c in range(image.shape[0]) if np.random.uniform() < self.p_per_channel]
        knots = [np.sort(np.random.uniform(-self.spread, self.spread, self.num_knots)).tolist() for _ in channels]
        slopes = [
            [float(sample_scalar(self.slope, image=image, channel=c)) for _ in range(self.num_knots + 1)]
            for c in channels
        ]
        return {"channels": channels, "knots": knots, "slopes": slopes}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        for channel, knots, slopes in zip(params["channels"], params["knots"], params["slopes"], strict=True):
            old = img[channel]
            mean = old.mean()
            old.sub_(mean)
            deviation = _root_mean_square(old)
            if deviation > 0:  # not a constant channel
                # A bend at the knot is a ramp that starts there. Offsets of the ramps do not matter: the mean is kept.
                new = old * slopes[0]
                ramp = torch.empty_like(old)
                for knot, before, after in zip(knots, slopes[:-1], slopes[1:], strict=True):
                    new.add_(torch.clamp(old, min=knot * deviation, out=ramp), alpha=after - before)
                new.sub_(new.mean())
                torch.mul(new, deviation / _root_mean_square(new), out=old)
            old.add_(mean)
        return img


def _root_mean_square(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) / values.numel() ** 0.5


class LogUniform:
    """A random number between ``1 / limit`` and ``limit`` whose logarithm is uniform; a class, so that it pickles."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        """Draw a number; the arguments, which batchgeneratorsv2 passes, do not matter."""
        return float(self.limit ** np.random.uniform(-1, 1))

    def __repr__(self) -> str:
        return f"LogUniform({self.limit:g})"
