"""One reader for every file format in which images come, and the writer of nnU-Net's.

The reader trusts nothing: the file must hold as many bytes of voxels as its header declares, no more and no
fewer, compressed data must have their right checksum, and memory has a bound that follows from the file's size.

The challenge hands out Analyze 7.5 pairs. That format has no orientation one could rely on, and tools disagree on it:
nibabel and SPM take x to the left and y forwards, ITK takes y backwards, and a pair re-saved as NIfTI carries the
frame of the tool that did it. The *order of the voxels* is the same in all of them. So this module keeps the order,
ignores the frame in the file and states one for all: LAS (x to left, y to anterior, z to superior), origin in the
volume's centre. It is nibabel's and SPM's reading of a bare Analyze header, so originals and converted files overlay
there, and the way back to the challenge's format is a plain copy of the voxels.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from math import prod
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.analyze import AnalyzeHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader
from nibabel.volumeutils import shape_zoom_affine

from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.files import regular_file

AXIS_CODES = ("L", "A", "S")

_COMPRESSION = 1  # nibabel's; the noise of an image does not compress better
_HEADER_SIZE = 348
_NIFTI2_SIZE = 540
_PLAUSIBLE_SPACING = (0.1, 20.0)  # mm; headers also say 0, NaN or metres
_KEPT_TYPES = ("u1", "i2", "u2", "f4")
_MOST_VOXELS = 2**29  # 1024 x 1024 x 512
_MOST_OFFSET = 2**26  # of the voxels in a file: the header and its extensions
_MOST_COMPRESSED = 1040  # deflate makes at most 1032 bytes of one
_CHUNK = 2**16


class _PairHeader(Spm2AnalyzeHeader):
    """Analyze as the files are: also with the data types that NIfTI added, such as uint16."""

    _data_type_codes = nib.nifti1.data_type_codes

    def get_slope_inter(self) -> tuple[float | None, float | None]:
        """SPM's scale factor if set; not nibabel's guess from the display range, which would change labels."""
        slope = float(self["scl_slope"])
        return (slope, 0.0) if np.isfinite(slope) and slope else (None, None)


@dataclass
class Volume:
    """The header of one image file; the voxels are read on demand.

    Attributes:
        path: the file; of a pair, the header.
        header: as in the file; nibabel's class for Analyze or NIfTI.
        data_path: the file with the voxels.
        shape: voxels along x, y and z, without trailing singleton axes.
        spacing: voxel size along x, y and z in mm; 1 mm where the header says nothing plausible.
        spacing_assumed: whether that was so.
        dtype: type of the stored voxels, with byte order.
    """

    path: Path
    header: AnalyzeHeader
    data_path: Path
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    spacing_assumed: bool
    dtype: np.dtype

    @property
    def axis_codes(self) -> tuple[str, ...]:
        """Where the file's own frame says that x, y and z lead, such as ("L", "A", "S")."""
        return nib.aff2axcodes(self.affine)

    @property
    def affine(self) -> np.ndarray:
        """From voxels to mm, as the file says, (4, 4).

        Raises:
            UserError: it is none of a rectangular grid.
        """
        with explained(f"{self.path} does not tell how it lies in space"):
            affine = np.asarray(self.header.get_best_affine(), np.float64)
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.isfinite(affine).all() or not sizes.all():
            raise UserError(f"{self.path} does not tell how it lies in space: its axes are {affine[:3, :3].tolist()}")
        if abs(np.linalg.det(affine[:3, :3] / sizes)) < 0.5:
            raise UserError(f"{self.path} has axes that are not perpendicular; resample it to a rectangular grid first")
        return affine

    @property
    def size(self) -> int:
        """Bytes of voxels that the header declares."""
        return prod(self.shape) * self.dtype.itemsize

    def verify(self) -> None:
        """Read all voxels and keep none.

        Raises:
            UserError: as :meth:`read`.
        """
        self._check_size()
        for _ in self._chunks():
            pass

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """The bytes of the voxels, a part at a time, each with its place; the last one once the file is known sound."""
        expected = f"expected {self.size} for {self.shape} voxels of {self.dtype.name}"
        with naming(self.data_path), _open(self.data_path) as stream:
            stream.seek(int(self.header["vox_offset"]))
            start = 0
            while chunk := stream.read(min(_CHUNK, self.size + 1 - start)):  # one more, to see the end of the file
                start += len(chunk)
                if start > self.size:
                    raise UserError(f"{self.data_path} holds more than {self.size} bytes of voxels; {expected}")
                yield start - len(chunk), chunk
        if start < self.size:
            raise UserError(f"{self.data_path} holds {start} bytes of voxels; {expected}")

    def _check_size(self) -> None:
        """Before memory is allocated: can the file hold what its header declares?"""
        if prod(self.shape) > _MOST_VOXELS:
            raise UserError(f"{self.path} declares {self.shape} voxels; expected at most {_MOST_VOXELS} in all")
        stored = regular_file(self.data_path).stat().st_size
        if self.data_path.suffix.lower() == ".gz":
            sound = self.size <= stored * _MOST_COMPRESSED
        else:
            stored = max(0, stored - int(self.header["vox_offset"]))
            sound = self.size == stored
        if not sound:
            what = f"{self.shape} voxels of {self.dtype.name}"
            raise UserError(f"{self.data_path} holds {stored} bytes of voxels; expected {self.size} for {what}")

    def read(self) -> np.ndarray:
        """The voxels, shape (x, y, z), in native byte order: the stored type, or float32 if scaled or unusual.

        Raises:
            UserError: there are more or fewer voxels than the header declares, or the compressed data are damaged.
        """
        self._check_size()
        data = np.empty(self.size, np.uint8)
        for start, chunk in self._chunks():
            data[start : start + len(chunk)] = np.frombuffer(chunk, np.uint8)
        voxels = data.view(self.dtype).reshape(self.shape, order="F")
        slope, inter = self.header.get_slope_inter()
        if slope not in (None, 1) or inter:
            return voxels * np.float32(slope) + np.float32(inter)
        kept = self.dtype.str[1:] in _KEPT_TYPES
        return voxels.astype(self.dtype.newbyteorder("=") if kept else np.float32, copy=False)


def open_volume(path: Path, flat: bool = False) -> Volume:
    """Read the header of an Analyze pair (by its ``.hdr``), a NIfTI-1 pair, or a ``.nii`` or ``.nii.gz`` file.

    Args:
        path: the file.
        flat: take 2-D images too.

    Raises:
        UserError: it is no such header, it describes no 3-D image of real numbers, or the ``.img`` is missing.
    """
    is_pair = path.suffix.lower() == ".hdr"
    header = _read_header(path, is_pair)
    data_path = data_file(path) if is_pair else path
    if data_path is None:
        raise UserError(f"{path} has no voxels; expected {path.with_suffix('.img').name} beside it")
    shape, dtype = _shape_and_type(path, header, 2 if flat else 3)
    spacing = tuple(abs(float(zoom)) for zoom in header["pixdim"][1:4])
    low, high = _PLAUSIBLE_SPACING
    plausible = all(low <= zoom <= high for zoom in spacing)
    return Volume(path, header, data_path, shape, spacing if plausible else (1.0, 1.0, 1.0), not plausible, dtype)


def data_file(header: Path) -> Path | None:
    """The ``.img`` that belongs to a ``.hdr``, whatever the letter case; None if there is none."""
    exact = header.with_suffix(".img")
    if exact.exists():
        return exact
    beside = (path for path in header.parent.iterdir() if path.suffix.lower() == ".img")
    return next((path for path in beside if pair_name(path) == pair_name(header)), None)


def pair_name(path: Path) -> str:
    """The path without its ending, in lower case: the same for both files of a pair."""
    return str(path.with_suffix("")).lower()


def in_las(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip and exchange axes until they lead to left, anterior and superior, for files whose frame can be relied on.

    Args:
        voxels: shape (x, y, z).
        affine: from voxels to mm in NIfTI's frame, (4, 4).

    Returns:
        The voxels in their new order, none changed, and the affine that goes with it.
    """
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(AXIS_CODES)
    )
    turned = nib.orientations.apply_orientation(voxels, change)
    return turned, affine @ nib.orientations.inv_ornt_aff(change, voxels.shape)


def save_nifti(voxels: np.ndarray, spacing: Sequence[float], path: Path, affine: np.ndarray | None = None) -> None:
    """Write voxels, shape (x, y, z), as compressed NIfTI-1.

    Args:
        voxels: in the order of the stated orientation.
        spacing: mm along x, y and z.
        path: the file.
        affine: from voxels to mm, where that is known; None centres the volume on the origin.

    Raises:
        OSError: the file cannot be written.
    """
    if affine is None:
        affine = shape_zoom_affine(voxels.shape, spacing, x_flip=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code="aligned")
    image.set_qform(affine, code="aligned")
    image.header.set_xyzt_units("mm")
    # nibabel's own file would stay open if the disk is full, and complain when Python closes it in the end.
    with naming(path), open(path, "wb") as file, gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as stream:
        image.to_stream(stream)


def recode(voxels: np.ndarray, old: Sequence[int], new: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Map label values.

    Args:
        voxels: labels of any type.
        old: the values to look for.
        new: for each of them the value to put, 0 to 255.

    Returns:
        The new labels as uint8, and the number of voxels of each; they sum up to less if there are other values.
    """
    labels = np.zeros_like(voxels, np.uint8)
    hit = np.empty_like(voxels, bool)
    counts = []
    for value, replacement in zip(old, new, strict=True):  # a table indexed by the voxels would take 8 bytes a voxel
        np.equal(voxels, value, out=hit)
        np.copyto(labels, replacement, where=hit)
        counts.append(int(np.count_nonzero(hit)))
    return labels, counts


def listed(voxels: np.ndarray) -> str:
    """The distinct values as text, at most eight."""
    values = np.unique(voxels)
    return ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in every failure: a full disk names none, and damaged gzip data become a ``UserError``."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is truncated or damaged ({error}); expected a sound gzip file") from error
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _open(path: Path) -> BufferedIOBase:
    regular_file(path)
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _read_header(path: Path, is_pair: bool) -> AnalyzeHeader:
    with naming(path), _open(path) as stream:
        block = stream.read(_NIFTI2_SIZE)
    of_nifti2 = _NIFTI2_SIZE in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big"))
    if of_nifti2 and not is_pair and len(block) == _NIFTI2_SIZE:
        return nib.Nifti2Header(block, check=False)
    if len(block) < _HEADER_SIZE:
        raise UserError(f"{path} is truncated: found {len(block)} bytes; expected a header of {_HEADER_SIZE}")
    block = block[:_HEADER_SIZE]
    magic = block[344:348]
    header_class = {b"n+1\0": nib.Nifti1Header, b"ni1\0": nib.nifti1.Nifti1PairHeader}.get(magic, _PairHeader)
    header = header_class(block, check=False)
    if header["sizeof_hdr"] != _HEADER_SIZE or is_pair == (magic == b"n+1\0"):
        raise UserError(f"{path} is not an image header; expected {'Analyze 7.5' if is_pair else 'NIfTI'}")
    return header


def _shape_and_type(path: Path, header: AnalyzeHeader, axes: int) -> tuple[tuple[int, ...], np.dtype]:
    try:
        shape, dtype, _ = header.get_data_shape(), header.get_data_dtype(), header.get_slope_inter()
    except (HeaderDataError, KeyError) as error:
        raise UserError(f"{path} has no valid header ({error}); expected a 3-D image") from error
    if len(shape) < axes or min(shape[:3]) < 1 or max(shape[3:], default=1) > 1:
        raise UserError(f"{path} has shape {tuple(map(int, shape))}; expected three axes")
    if not 0 <= header["vox_offset"] <= _MOST_OFFSET:
        raise UserError(f"{path} says that voxels start at byte {header['vox_offset']:g}; expected 0 to {_MOST_OFFSET}")
    if dtype.kind not in "iuf":
        raise UserError(f"{path} holds voxels of type {dtype}; expected integers or real numbers")
    return tuple(map(int, shape[:3])), dtype
