"""What nnU-Net finds when it looks for our trainers."""

import os
from pathlib import Path

import nnunetv2_dualagg
from nnunetv2_dualagg.utils.ext_trainer import VARIABLE


def check_ext_trainer(trainer_name: str = "nnUNetTrainerDualAgg") -> tuple[bool, str]:
    """Look for a trainer the way nnU-Net does.

    Args:
        trainer_name: the name given to nnU-Net's ``-tr``.

    Returns:
        Whether nnU-Net finds this package's trainer of that name, and a message: what nnU-Net finds, and what to
        type if that is not it.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    setting = os.environ.get(VARIABLE)
    advice = f'\nType: export {VARIABLE}="$(nnUNetv2_dualagg path)"'
    if not setting:
        return False, f"{VARIABLE} is not set, so nnU-Net does not find {trainer_name}.{advice}"
    missing = [folder for folder in setting.split(os.pathsep) if not Path(folder).is_dir()]
    if missing:
        return False, f"{VARIABLE} names a folder that does not exist: {', '.join(missing)}.{advice}"
    try:
        trainer = recursive_find_trainer_class_by_name(trainer_name)
    except RuntimeError:
        return False, f"{VARIABLE}={setting} holds no {trainer_name}.{advice}"
    except (Exception, SystemExit) as error:  # nnU-Net executes all modules in these folders, whatever they do
        reason = f"{type(error).__name__}: {error}"
        return False, f"{VARIABLE}={setting} holds a module that cannot be imported: {reason}.{advice}"
    expected = f"nnunetv2_dualagg.trainers.{trainer_name}"
    if trainer is not _own_trainer(trainer_name):
        return False, f"{VARIABLE}={setting} leads nnU-Net to {trainer.__module__}, not to {expected}.{advice}"
    return True, f"nnU-Net finds {trainer_name} of nnunetv2_dualagg {nnunetv2_dualagg.__version__} in {setting}."


def _own_trainer(name: str) -> type | None:
    import nnunetv2_dualagg.trainers

    return getattr(nnunetv2_dualagg.trainers, name, None)
