"""From BOBs' labels, which are FreeSurfer's, to tissues: the one table, and why each structure is what it is.

The aim is what iSeg's labels show: CSF, grey and white matter of the cerebrum, without cerebellum and brain stem. Where
a structure is not all one tissue, the table follows smriprep's (fMRIPrep's) reduction of the same labels to three
tissues, and says where it does not.
"""

from collections.abc import Mapping

BACKGROUND, CSF, GM, WM, IGNORE = 0, 1, 2, 3, 4
TISSUES = {"background": BACKGROUND, "CSF": CSF, "GM": GM, "WM": WM}

# Not tissues of the result, but what the envelope (envelope.py) needs to know.
UNLABELLED = 5
"""Nobody has said what it is: CSF around the brain, or nothing."""
INFRATENTORIAL = 6
"""Cerebellum, brain stem and the ventricle between them: left out, as in iSeg."""

_CEREBRAL = {
    WM: {2: "Left-Cerebral-White-Matter", 41: "Right-Cerebral-White-Matter", 77: "WM-hypointensities"},
    GM: {3: "Left-Cerebral-Cortex", 42: "Right-Cerebral-Cortex"},
}
# Deep grey matter is grey matter. In the thalamus and the pallidum, which myelinate early, the border with white matter
# is a matter of convention; the atlas's structure is taken as a whole.
_DEEP_GREY = {
    10: "Left-Thalamus", 11: "Left-Caudate", 12: "Left-Putamen", 13: "Left-Pallidum", 17: "Left-Hippocampus",
    18: "Left-Amygdala", 26: "Left-Accumbens-area", 49: "Right-Thalamus", 50: "Right-Caudate", 51: "Right-Putamen",
    52: "Right-Pallidum", 53: "Right-Hippocampus", 54: "Right-Amygdala", 58: "Right-Accumbens-area",
}  # fmt: skip
# A mixture of small nuclei and of tracts (the cerebral peduncle among them): white matter, as in smriprep. The left one
# is missing in the data set's own table, which has the right one; an earlier public map has both.
_VENTRAL_DC = {28: "Left-VentralDC", 60: "Right-VentralDC"}
# Filled with CSF. Label 24 is CSF of the midline, the little of it that is labelled at all.
_VENTRICLES = {
    4: "Left-Lateral-Ventricle", 5: "Left-Inf-Lat-Vent", 14: "3rd-Ventricle", 24: "CSF",
    43: "Right-Lateral-Ventricle", 44: "Right-Inf-Lat-Vent",
}  # fmt: skip
# It floats in the ventricles, and FreeSurfer counts it with them; iSeg has no class for it. (smriprep: grey matter.)
_CHOROID_PLEXUS = {31: "Left-choroid-plexus", 63: "Right-choroid-plexus"}
# Named as lying outside the cerebrum or the cerebellum: as good as not labelled. So are vessels, with the fluid around
# them, and the optic chiasm, which hangs below the brain in CSF: no grey or white matter of the cerebrum, and whether
# iSeg's annotators would call the place CSF or background is not known.
_OUTSIDE = {
    1: "Left-Cerebral-Exterior", 6: "Left-Cerebellum-Exterior", 30: "Left-vessel", 62: "Right-vessel",
    85: "Optic-Chiasm",
}  # fmt: skip
_INFRATENTORIAL = {
    7: "Left-Cerebellum-White-Matter", 8: "Left-Cerebellum-Cortex", 15: "4th-Ventricle", 16: "Brain-Stem",
    46: "Right-Cerebellum-White-Matter", 47: "Right-Cerebellum-Cortex", 172: "Vermis",
}  # fmt: skip

NAMES: Mapping[int, str] = {
    0: "Unknown", **_CEREBRAL[WM], **_CEREBRAL[GM], **_DEEP_GREY, **_VENTRAL_DC, **_VENTRICLES, **_CHOROID_PLEXUS,
    **_OUTSIDE, **_INFRATENTORIAL,
}  # fmt: skip
"""Label value -> FreeSurfer's name, of all labels that are known here."""

TISSUE_OF: Mapping[int, int] = {
    0: UNLABELLED,
    **dict.fromkeys(_CEREBRAL[WM] | _VENTRAL_DC, WM),
    **dict.fromkeys(_CEREBRAL[GM] | _DEEP_GREY, GM),
    **dict.fromkeys(_VENTRICLES | _CHOROID_PLEXUS, CSF),
    **dict.fromkeys(_OUTSIDE, UNLABELLED),
    **dict.fromkeys(_INFRATENTORIAL, INFRATENTORIAL),
}
"""Label value -> CSF, GM, WM, INFRATENTORIAL or UNLABELLED."""

OTHER_NAMES: Mapping[int, str] = {
    9: "Left-Thalamus-unused", 19: "Left-Insula", 25: "Left-Lesion", 27: "Left-Substancia-Nigra",
    29: "Left-undetermined", 40: "Right-Cerebral-Exterior", 45: "Right-Cerebellum-Exterior",
    48: "Right-Thalamus-unused", 55: "Right-Insula", 57: "Right-Lesion", 59: "Right-Substancia-Nigra",
    61: "Right-undetermined", 72: "5th-Ventricle", 78: "Left-WM-hypointensities", 79: "Right-WM-hypointensities",
    80: "non-WM-hypointensities", 165: "Skull", 173: "Midbrain", 174: "Pons", 175: "Medulla", 192: "Corpus_Callosum",
    250: "Fornix", 251: "CC_Posterior", 252: "CC_Mid_Posterior", 253: "CC_Central", 254: "CC_Mid_Anterior",
    255: "CC_Anterior", 257: "CSF-ExtraCerebral", 258: "Head-ExtraCerebral",
}  # fmt: skip
"""FreeSurfer's names of labels that BOBs does not have, for the sentence that refuses them."""

WORDS: Mapping[str, int] = {"CSF": CSF, "GM": GM, "WM": WM, "infratentorial": INFRATENTORIAL, "unknown": UNLABELLED}
"""What the user may say of a label that is not known here."""


def name_of(value: float) -> str:
    """FreeSurfer's name of a label, for a message; "no FreeSurfer label" if it is none that is known here."""
    whole = int(value) if float(value).is_integer() else -1
    return NAMES.get(whole) or OTHER_NAMES.get(whole) or "no label of FreeSurfer's that is known here"
