"""Replicas of BOBs' files: names, values and frame of the released ones, of a head made of ellipsoids."""

from pathlib import Path

import nibabel as nib
import numpy as np

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
