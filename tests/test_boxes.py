import numpy as np
import pytest

from nnunetv2_dualagg.utils.boxes import bounding_box


@pytest.mark.parametrize(("margin", "margins"), [(0, (0, 0, 0)), (2, (2, 2, 2)), ((0, 1, 5), (0, 1, 5))])
def test_the_box_holds_the_mask_and_its_margin_as_far_as_the_array_reaches(margin, margins):
    mask = np.zeros((9, 8, 7), bool)
    mask[1, 3, 2] = mask[6, 4, 5] = True  # not connected
    places = np.argwhere(mask)
    expected = tuple(
        slice(max(0, low - more), min(size, high + 1 + more))
        for low, high, more, size in zip(places.min(0), places.max(0), margins, mask.shape, strict=True)
    )
    assert bounding_box(mask, margin) == expected


def test_without_a_mask_the_box_is_the_whole_array():
    array = np.zeros((3, 4), bool)
    assert array[bounding_box(array, 1)].shape == (3, 4)
