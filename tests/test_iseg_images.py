import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from iseg_files import SMALL, brain, header_bytes, write_image

from nnunetv2_dualagg.dataset_conversion.volumes import AXIS_CODES, listed, open_volume, recode, save_nifti
from nnunetv2_dualagg.utils.errors import UserError

ENDINGS = [".hdr", ".nii", ".nii.gz"]


def header_of(folder, change=lambda block: block, data=b"\0" * 240, name="subject-1-T1.hdr"):
    """A pair of 4 x 5 x 6 int16 voxels whose header has been changed."""
    block = change(bytearray(header_bytes((4, 5, 6), 4, 16)))
    (folder / name).write_bytes(block)
    (folder / name).with_suffix(".img").write_bytes(data)
    return folder / name


def at(offset, form, *values):
    def change(block):
        struct.pack_into("<" + form, block, offset, *values)
        return block

    return change


@pytest.mark.parametrize("fourth", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_reads_every_format_as_it_is(tmp_path, ending, dtype, order, fourth):
    voxels = brain()[1].astype(dtype)
    stored = voxels[..., None] if fourth else voxels
    write_image(tmp_path / "a", stored, ending, order=order, spacing=(0.8, 1, 1.25))
    volume = open_volume(tmp_path / f"a{ending}")
    assert volume.shape == SMALL
    np.testing.assert_allclose(volume.spacing, (0.8, 1, 1.25), rtol=1e-6)
    assert not volume.spacing_assumed
    read = volume.read()
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, voxels)
    if dtype != "u2" or ending != ".hdr":  # nibabel's Analyze knows no uint16
        np.testing.assert_array_equal(read, np.squeeze(nib.load(tmp_path / f"a{ending}").get_fdata()))


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_unusual_types_become_float32(tmp_path, dtype):
    voxels = brain()[1].astype(dtype) * 3
    write_image(tmp_path / "a", voxels)
    read = open_volume(tmp_path / "a.hdr").read()
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, voxels)


@pytest.mark.parametrize("ending", ENDINGS)
def test_applies_the_scale_factor_but_never_the_display_range(tmp_path, ending):
    voxels = brain()[1]
    write_image(tmp_path / "a", voxels, ending, slope=0.5)
    np.testing.assert_array_equal(open_volume(tmp_path / f"a{ending}").read(), voxels * 0.5)
    write_image(tmp_path / "b", voxels, ending, display=(1, 0, 1000, 0))
    np.testing.assert_array_equal(open_volume(tmp_path / f"b{ending}").read(), voxels)


@pytest.mark.parametrize("spacing", [(0, 0, 0), (np.nan, 1, 1), (1e-3, 1e-3, 1e-3), (1, 1, 400)])
def test_takes_1_mm_where_the_header_says_nothing_plausible(tmp_path, spacing):
    write_image(tmp_path / "a", brain()[1], spacing=spacing)
    volume = open_volume(tmp_path / "a.hdr")
    assert (volume.spacing, volume.spacing_assumed) == ((1, 1, 1), True)


def test_a_negative_spacing_counts_without_its_sign(tmp_path):
    write_image(tmp_path / "a", brain()[1], spacing=(-2, 1, 1))
    assert open_volume(tmp_path / "a.hdr").spacing == (2, 1, 1)


def test_a_pair_with_nifti_header(tmp_path):
    voxels = brain()[1]
    nib.save(nib.Nifti1Pair(voxels, np.diag([2, 2, 2, 1])), tmp_path / "a.hdr")
    volume = open_volume(tmp_path / "a.hdr")
    assert volume.spacing == (2, 2, 2)
    np.testing.assert_array_equal(volume.read(), voxels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda block: block[:100], "truncated.*100 bytes.*348"),
        (lambda block: bytes(348), "not an image header"),
        (lambda block: block[:344] + b"n+1\0", "not an image header"),
        (at(40, "h", 2), r"shape \(4, 5\).*three axes"),
        (at(40, "5h", 4, 4, 5, 6, 3), r"shape \(4, 5, 6, 3\).*three axes"),
        (at(42, "h", 0), r"shape \(0, 5, 6\).*three axes"),
        (at(42, "h", -4), r"shape \(-4, 5, 6\).*three axes"),
        (at(70, "h", 9999), "no valid header.*9999"),
        (at(70, "h", 32), "complex64.*integers or real"),
        (at(70, "h", 128), "integers or real"),
        (at(108, "f", -3), "start at byte -3"),
        (at(108, "f", np.nan), "start at byte nan"),
    ],
)
def test_refuses_a_header_in_one_sentence(tmp_path, change, words):
    with pytest.raises(UserError, match=rf"subject-1-T1\.hdr.*{words}"):
        open_volume(header_of(tmp_path, change))


@pytest.mark.parametrize("data", [b"", bytes(239), bytes(241), bytes(480)])
def test_refuses_more_or_fewer_voxels_than_the_header_tells(tmp_path, data):
    volume = open_volume(header_of(tmp_path, data=data))
    with pytest.raises(UserError, match=rf"subject-1-T1\.img holds {len(data)} bytes.*expected 240"):
        volume.read()


def test_refuses_a_scale_factor_without_a_number_for_its_offset(tmp_path):
    nib.save(nib.Nifti1Image(brain()[1], np.eye(4)), tmp_path / "a.nii")
    block = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2f", block, 112, 2, np.nan)
    (tmp_path / "a.nii").write_bytes(block)
    with pytest.raises(UserError, match=r"a\.nii has no valid header"):
        open_volume(tmp_path / "a.nii")


def test_refuses_a_damaged_gzip_file(tmp_path):
    write_image(tmp_path / "a", brain()[1], ".nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    flipped = bytearray(gzip.compress(gzip.decompress(whole), 0))  # stored, so that only the checksum tells
    flipped[1000] ^= 1
    for damaged in (whole[:20], whole[: len(whole) // 2], whole[:-8], b"not gzip" * 99, bytes(flipped)):
        (tmp_path / "a.nii.gz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.nii\.gz is truncated or damaged"):
            open_volume(tmp_path / "a.nii.gz").read()


def test_a_missing_img_is_told(tmp_path):
    header = header_of(tmp_path)
    header.with_suffix(".img").unlink()
    with pytest.raises(UserError, match=r"subject-1-T1\.hdr has no voxels; expected subject-1-T1\.img"):
        open_volume(header)


def test_writes_the_voxels_in_order_and_the_stated_orientation(tmp_path):
    voxels = brain()[1]
    save_nifti(voxels, (0.8, 1, 1.25), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    assert nib.aff2axcodes(image.affine) == AXIS_CODES == ("L", "A", "S")
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    centre = image.affine @ [*((np.array(SMALL) - 1) / 2), 1]
    np.testing.assert_allclose(centre, (0, 0, 0, 1), atol=1e-6)

    itk = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), voxels.transpose(2, 1, 0))
    np.testing.assert_allclose(itk.GetSpacing(), (0.8, 1, 1.25), rtol=1e-6)
    assert itk.GetDirection() == (1, 0, 0, 0, -1, 0, 0, 0, 1)  # in ITK's frame, left and posterior are positive


def test_overlays_with_nibabels_view_of_the_original(tmp_path):
    write_image(tmp_path / "a", brain()[1])
    header = bytearray((tmp_path / "a.hdr").read_bytes())
    header[253:263] = bytes(10)  # no SPM origin
    (tmp_path / "a.hdr").write_bytes(header)
    save_nifti(brain()[1], (1, 1, 1), tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "a.hdr").affine, nib.load(tmp_path / "b.nii.gz").affine)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_stream", full)
    with pytest.raises(OSError, match="No space left") as failure:
        save_nifti(brain()[1], (1, 1, 1), tmp_path / "a.nii.gz")
    assert failure.value.filename == str(tmp_path / "a.nii.gz")


def test_recode():
    labels, counts = recode(np.array([[0, 10, 250, 7]], np.float32), (0, 10, 150, 250), (0, 1, 2, 3))
    assert labels.tolist() == [[0, 1, 3, 0]]
    assert labels.dtype == np.uint8
    assert counts == [1, 1, 0, 1]
    assert listed(np.array([3, 1, 1, 0.5])) == "0.5, 1, 3"
    assert listed(np.arange(99)) == "0, 1, 2, 3, 4, 5, 6, 7, ..."
