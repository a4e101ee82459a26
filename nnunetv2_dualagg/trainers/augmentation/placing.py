"""Putting transforms into nnU-Net's list in the place of some of its own."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms


def in_place_of(
    planned: Sequence[BasicTransform],
    is_replaced: Callable[[BasicTransform], bool],
    ours: Sequence[BasicTransform],
    trainer: str,
) -> ComposeTransforms:
    """nnU-Net's transforms with ours where the first of those stood that are replaced.

    Args:
        planned: nnU-Net's list.
        is_replaced: whether to leave a transform of it out.
        ours: what comes instead.
        trainer: the trainer's name, for the error.

    Raises:
        RuntimeError: nnU-Net plans nothing that is to be replaced, so it is not the version this was written for.
    """
    places = [index for index, transform in enumerate(planned) if is_replaced(transform)]
    if not places:
        names = ", ".join(sorted({type(transform).__name__ for transform in planned}))
        raise RuntimeError(
            f"nnU-Net {version('nnunetv2')} plans none of the transforms that {trainer} replaces (it plans {names}); "
            "use a version of nnunetv2 that nnunetv2-dualagg allows"
        )
    behind = [transform for transform in planned[places[0] :] if not is_replaced(transform)]
    return ComposeTransforms([*planned[: places[0]], *ours, *behind])
