"""Replicas of BOBs' files: names, values and frame of the released ones, of a head made of ellipsoids."""

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from nnunetv2_dualagg.dataset_conversion.origin import Origin
from nnunetv2_dualagg.dataset_conversion.phantom import make_subject
from nnunetv2_dualagg.simulation.anatomy import load_icbm152
from nnunetv2_dualagg.simulation.contrast import TESTING_SITES

SPACING = 4.0  # mm; the released files have 1
SHAPE = (46, 55, 46)
# x leads to the left, as in FSL's MNI space.
AFFINE = np.diag([-1.0, 1.0, 1.0, 1.0])
AFFINE[:3, 3] = 90, -126, -72

# FreeSurfer value -> intensity in T1 and T2
INTENSITIES = {
    0: (0, 0), 2: (640, 610), 41: (640, 610), 3: (600, 640), 42: (600, 640), 4: (300, 1150), 43: (300, 1150),
    14: (300, 1150), 10: (620, 620), 49: (620, 620), 8: (590, 650), 47: (590, 650), 16: (650, 600), 31: (500, 800),
    30: (350, 1000), 85: (640, 600),
}  # fmt: skip
CSF, BONE, SCALP = (290, 1200), (60, 50), (900, 500)


def head(seed=0, shape=SHAPE, spacing=SPACING):
    """FreeSurfer's labels of a head, T1 and T2. CSF around the brain has the intensity of CSF and the label 0."""
    rng = np.random.default_rng(seed)
    x, y, z = ((np.arange(n) - (n - 1) / 2) * spacing - middle for n, middle in zip(shape, (0, 0, 6), strict=True))
    x, y, z = np.meshgrid(x, y, z, indexing="ij")
    size = rng.uniform(0.95, 1.05, 3)

    def ellipsoid(centre, axes):
        return sum(((v - c) / (a * s)) ** 2 for v, c, a, s in zip((x, y, z), centre, axes, size, strict=True)) ** 0.5

    left = x > 0
    cerebrum = ellipsoid((0, 0, 0), (62, 78, 54))
    sulci = (cerebrum > 0.75) & (np.abs(np.abs(y) - 30) < spacing)
    sulci |= (np.abs(x) < spacing / 2 + 0.1) & (z > 15)
    dseg = np.zeros(shape, np.int16)
    dseg[(cerebrum < 1) & ~sulci] = 3
    dseg[(cerebrum < 0.82) & ~sulci] = 2
    dseg[ellipsoid((20, 0, 0), (14, 16, 12)) < 1] = 10
    dseg[ellipsoid((-20, 0, 0), (14, 16, 12)) < 1] = 10
    dseg[ellipsoid((14, 5, 18), (10, 32, 8)) < 1] = 4
    dseg[ellipsoid((-14, 5, 18), (10, 32, 8)) < 1] = 4
    for right, of_left in {41: 2, 42: 3, 43: 4, 49: 10}.items():
        dseg[(dseg == of_left) & ~left] = right
    dseg[ellipsoid((0, -45, -50), (45, 28, 20)) < 1] = 8
    dseg[(np.abs(x) < 10) & (np.abs(y + 10) < 10) & (z < -35) & (z > -72)] = 16
    inner = np.minimum(cerebrum / 1.12, ellipsoid((0, -40, -50), (56, 46, 34)))

    images = np.zeros((2, *shape), np.float32)
    for channel, image in enumerate(images):
        for outside, tissue in ((1.25, SCALP), (1.12, BONE), (1.0, CSF)):
            image[inner < outside] = tissue[channel]
        for value, intensities in INTENSITIES.items():
            if value:
                image[dseg == value] = intensities[channel]
        image[image > 0] += rng.normal(0, 20, np.count_nonzero(image))
    return dseg, images[0].clip(0), images[1].clip(0)


def name_of(subject, age, kind):
    return f"sub-{subject}_ses-{age}mo_space-INFANTMNIacpc_{kind}.nii.gz"


def write_session(root, subject, age, arrays=None, spacing=SPACING, affine=None):
    """Write one session where the bucket has it; returns labels, T1 and T2."""
    arrays = head(seed=int(subject) * 10 + age) if arrays is None else arrays
    affine = AFFINE @ np.diag([spacing, spacing, spacing, 1]) if affine is None else affine
    folder = Path(root) / f"sub-{subject}" / f"ses-{age}mo" / "anat"
    folder.mkdir(parents=True)
    for kind, voxels in zip(("desc-aseg_dseg", "T1w", "T2w"), arrays, strict=True):
        nib.save(nib.Nifti1Image(voxels, affine), folder / name_of(subject, age, kind))
    return arrays


def write_bobs(root, sessions=(("11", 6), ("11", 3), ("22", 6)), **options):
    """Write some sessions; returns their arrays by infant and age."""
    return {session: write_session(root, *session, **options) for session in sessions}


def stand_in(anatomy, seed, size=SHAPE, spacing=SPACING):
    """A phantom with FreeSurfer's labels, cerebellum, brain stem and skull: labels, T1 and T2, axes RAS."""
    sizes = (size, (spacing,) * 3)
    arrays = make_subject(anatomy, TESTING_SITES[0], np.random.default_rng(seed), *sizes)
    label, images = arrays["label"], [arrays[kind].astype(np.float32) for kind in ("T1", "T2")]
    x, y, z = np.meshgrid(*((np.arange(n) - n / 2) * spacing for n in size), indexing="ij")
    depth = ndimage.distance_transform_edt(label > 0, sampling=spacing)
    dseg = np.zeros(size, np.int16)
    dseg[(label == 1) & (depth > 20)] = 4
    dseg[label == 2] = 3
    dseg[(label == 2) & (depth > 20)] = 10
    dseg[label == 3] = 2
    bottom = z[label > 0].min()
    infratentorial = (x / 45) ** 2 + ((y + 35) / 28) ** 2 + ((z - bottom) / 22) ** 2 < 1
    dseg[infratentorial & (label == 0)] = 8
    dseg[(np.abs(x) < 8) & (np.abs(y + 8) < 8) & (np.abs(z - bottom) < 25) & (label == 0)] = 16
    for of_left, right in ((2, 41), (3, 42), (4, 43), (10, 49), (8, 47)):
        dseg[(dseg == of_left) & (x > 0)] = right
    outside = ndimage.distance_transform_edt((label == 0) & (dseg == 0), sampling=spacing)
    for image in images:
        tissue = image[label == 2].mean()
        image[(label == 0) & (dseg > 0)] = tissue
        image[(outside > 0) & (outside <= 5)] = 0.1 * tissue  # bone
        image[(outside > 5) & (outside <= 12)] = 1.5 * tissue
    return dseg, *images


def write_stand_in(root, sessions):
    """Sessions of phantoms, as released but for the voxel size."""
    anatomy = load_icbm152()
    for subject, age in sessions:
        affine = np.diag([SPACING, SPACING, SPACING, 1])
        write_session(root, subject, age, stand_in(anatomy, int(subject) * 10 + age), affine=affine)
    words = "stand-in of Baby Open Brains, made of the ICBM152 average; shows no infants"
    Origin("stand-in", words, "as the phantom", "as the phantom", "").write(Path(root))
