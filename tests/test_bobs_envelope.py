"""Which voxels are unknown: on shapes whose answer is known by counting."""

import numpy as np
import pytest

from nnunetv2_dualagg.dataset_conversion.bobs.envelope import CLOSING, HEAD_RIM, RIM, with_ignored
from nnunetv2_dualagg.dataset_conversion.bobs.labels import (
    BACKGROUND,
    CSF,
    GM,
    IGNORE,
    INFRATENTORIAL,
    NAMES,
    TISSUE_OF,
    UNLABELLED,
    WM,
)

ONE_MM = (1, 1, 1)


def empty(shape=(60, 9, 9)):
    return np.full(shape, UNLABELLED, np.uint8)


def line(tissues, spacing=ONE_MM, **options):
    """The labels along the first axis, where slabs across it make the problem one of one dimension."""
    labels = with_ignored(tissues, spacing, **options)
    assert (labels == labels[:, :1, :1]).all()
    return labels[:, 0, 0].tolist()


def test_a_rim_of_unknown_voxels_lies_around_the_brain():
    tissues = empty()
    tissues[20:40] = GM
    expected = [BACKGROUND] * 18 + [IGNORE] * 2 + [GM] * 20 + [IGNORE] * 2 + [BACKGROUND] * 18
    assert RIM == 2
    assert line(tissues) == expected


@pytest.mark.parametrize("gap", [1, 6, 12])
def test_a_sulcus_is_unknown(gap):
    tissues = empty()
    tissues[10:20] = GM
    tissues[20 + gap : 40] = WM
    assert gap <= 2 * CLOSING
    assert line(tissues)[20 : 20 + gap] == [IGNORE] * gap


def test_a_wide_gap_is_not_all_brain():
    tissues = empty()
    tissues[10:20], tissues[40:50] = GM, GM
    assert line(tissues)[20:40] == [IGNORE] * 2 + [BACKGROUND] * 16 + [IGNORE] * 2


def test_tissues_are_never_changed():
    rng = np.random.default_rng(0)
    tissues = rng.choice([CSF, GM, WM, INFRATENTORIAL, UNLABELLED], (12, 14, 10)).astype(np.uint8)
    for keep_head in (False, True):
        labels = with_ignored(tissues, ONE_MM, keep_head)
        for tissue in (CSF, GM, WM):
            np.testing.assert_array_equal(labels == tissue, tissues == tissue)
        assert (labels[tissues == INFRATENTORIAL] == BACKGROUND).all()


def test_what_lies_at_the_cerebellum_goes_with_it():
    tissues = empty()
    tissues[10:20], tissues[24:40] = GM, INFRATENTORIAL
    # Of the four voxels between them the first two are nearer to the cerebrum.
    assert line(tissues)[20:44] == [IGNORE] * 2 + [BACKGROUND] * 22
    # With the head, CSF around the cerebellum is as unknown as that around the cerebrum.
    assert line(tissues, keep_head=True)[20:44] == [IGNORE] * 4 + [BACKGROUND] * 16 + [IGNORE] * 4


def test_with_the_head_more_is_unknown():
    tissues = empty()
    tissues[25:35] = WM
    reach = int(HEAD_RIM)
    assert line(tissues, keep_head=True) == [0] * (25 - reach) + [IGNORE] * reach + [WM] * 10 + [IGNORE] * reach + [
        0
    ] * (25 - reach)


def test_distances_are_in_mm():
    tissues = empty()
    tissues[20:40] = GM
    assert line(tissues, (0.5, 0.5, 0.5))[15:20] == [BACKGROUND, IGNORE, IGNORE, IGNORE, IGNORE]
    assert line(tissues, (2, 1, 1))[18:20] == [BACKGROUND, IGNORE]


def test_a_brain_at_the_edge_of_the_image():
    tissues = empty()
    tissues[:10] = GM
    assert line(tissues)[:13] == [GM] * 10 + [IGNORE] * 2 + [BACKGROUND]


def test_every_label_of_the_data_set_has_a_tissue():
    # The data set's own table (dseg.tsv), and 28, which it lacks though it has 60.
    published = {
        *range(9), *range(10, 19), 24, 26, 30, 31, 41, 42, 43, 44, 46, 47, *range(49, 55), 58, 60, 62, 63, 77, 85, 172
    }  # fmt: skip
    assert TISSUE_OF.keys() == published | {28}
    assert NAMES.keys() == TISSUE_OF.keys()
    sides = {name: value for value, name in NAMES.items()}
    for name, value in sides.items():
        if name.startswith("Left-") and (other := sides.get(name.replace("Left", "Right", 1))):
            assert TISSUE_OF[value] == TISSUE_OF[other], name
