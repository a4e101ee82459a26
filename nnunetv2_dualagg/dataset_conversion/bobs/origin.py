"""Licence and citation of Baby Open Brains."""

from nnunetv2_dualagg.dataset_conversion.origin import Origin

BOBS = Origin(
    name="Baby Open Brains",
    description="T1, T2 and expert-corrected segmentations of 51 infants of the Baby Connectome Project, 1 to 8 months",
    licence="CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/)",
    citation=(
        "Feczko, E., Stoyell, S. M., Moore, L. A., Alexopoulos, D., Bagonis, M., Barrett, K., et al. (2024). Baby "
        "Open Brains: An open-source repository of infant brain segmentations. bioRxiv. "
        "https://doi.org/10.1101/2024.10.02.616147"
    ),
    reference="https://doi.org/10.17605/OSF.IO/WDR78",
)
