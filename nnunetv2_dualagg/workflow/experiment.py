"""Files and commands of all the workflow's jobs.

The Snakefile takes them from here and only says how the jobs depend on each other.
"""

import os
import shlex
import sys
from pathlib import Path

from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE
from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE
from nnunetv2_dualagg.workflow.config import PLANNERS, Config, Method
from nnunetv2_dualagg.workflow.data import Data

SHARED = ("2d", "3d_fullres")  # all planners use the data of nnU-Net's default plans for these
INHERIT_FULLRES = ("3d_paper",)


class Experiment:
    """One ``config.yaml``, as files and commands.

    Args:
        config: what the user asks for.
        root: the workflow's folder.
    """

    def __init__(self, config: Config, root: Path) -> None:
        self.config = config
        self.root = root.resolve()
        self.data = Data(config.dataset, root)
        self.methods = {method.name: method for method in config.methods}
        self.models = {method.model: method for method in config.methods}
        self.plans = list(dict.fromkeys(method.plans for method in config.methods))

    def environment(self) -> dict[str, str]:
        """The variables with which every job runs: nnU-Net's folders, and the programs of this Python first."""
        variables = {
            "nnUNet_raw": str((self.root / self.data.raw).parent),
            "nnUNet_preprocessed": str(self.root / "nnUNet_preprocessed"),
            "nnUNet_results": str(self.root / "nnUNet_results"),
            VARIABLE: os.environ.get(VARIABLE, str(EXT_TRAINER_FOLDER)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        return variables

    def splits_command(self) -> str:
        """The command that makes ``splits_final.json``."""
        splits, target = self.config.splits, str(self.data.preprocessed / "splits_final.json")
        if isinstance(splits, str) and splits.endswith(".json"):
            return shlex.join(["cp", splits, target])
        option = ["--holdout", *splits] if isinstance(splits, list) else [f"--{splits}"]
        return shlex.join(["nnUNetv2_dualagg", "splits", "-d", str(self.data.number), *option])

    def planning_command(self, plans: str) -> str:
        """The command that writes plans."""
        return f"{PLANNERS[plans]} {self.data.number}"

    def added(self) -> list[tuple[str, str]]:
        """Plans and reduced configurations that are used together."""
        pairs = ((method.plans, method.configuration) for method in self.config.methods)
        return [pair for pair in dict.fromkeys(pairs) if pair[1] in self.config.reduced_configurations]

    def configuration_options(self, configuration: str) -> str:
        """Options of ``nnUNetv2_dualagg add_configuration``."""
        reduced = self.config.reduced_configurations[configuration]
        patch, features = (" ".join(map(str, n)) for n in (reduced.patch_size, reduced.features_per_stage))
        return f"-patch_size {patch} -batch_size {reduced.batch_size} -features_per_stage {features}"

    def identifier(self, method: Method) -> str:
        """nnU-Net's name of the preprocessed data that a method trains on, known before it is planned."""
        fullres = method.configuration in (*self.config.reduced_configurations, *INHERIT_FULLRES)
        configuration = "3d_fullres" if fullres else method.configuration
        return f"{'nnUNetPlans' if configuration in SHARED else method.plans}_{configuration}"

    def identifiers(self) -> dict[str, tuple[str, str]]:
        """Preprocessed data -> plans and configuration to preprocess with: each data only once."""
        found: dict[str, tuple[str, str]] = {}
        for method in self.config.methods:
            identifier = self.identifier(method)
            configuration = identifier.split("_", 1)[1]
            # Those whose name the data carries, if they are there; the same data comes from all that share it.
            plans = "nnUNetPlans" if identifier.startswith("nnUNetPlans_") and "nnUNetPlans" in self.plans else None
            found.setdefault(identifier, (plans or method.plans, configuration))
        return found

    def trained(self, method: Method, seed: int, fold: int) -> str:
        """What nnU-Net writes last for a fold."""
        return f"{self.results(method, seed)}/fold_{fold}/validation/summary.json"

    def trained_folds(self, name: str, seed: int) -> list[str]:
        """What nnU-Net writes last for all folds of a method."""
        method = self.methods[name]
        return [self.trained(method, seed, fold) for fold in self.config.folds_of(method)]

    def results(self, method: Method, seed: int) -> str:
        """nnU-Net's folder of a method's results."""
        return f"nnUNet_results/seed_{seed}/{self.data.name}/{method.model}"

    def needed_to_train(self, model: str) -> list[str]:
        """What has to be there before a training starts."""
        method = self.models[model]
        files = ["done/splits", f"done/plan/{method.plans}", f"done/preprocess/{self.identifier(method)}"]
        if (method.plans, method.configuration) in self.added():
            files.append(f"done/configuration/{method.plans}/{method.configuration}")
        return files

    def train_arguments(self, model: str) -> str:
        """Arguments of ``nnUNetv2_train``, but for dataset, configuration and fold."""
        method = self.models[model]
        gpus = ["-num_gpus", str(method.num_gpus)] if method.num_gpus > 1 else []
        return shlex.join(["-tr", method.trainer, "-p", method.plans, "-device", self.config.device, *gpus])

    def gpus(self, model: str | None = None) -> int:
        """How many GPUs a training or a prediction takes."""
        if self.config.device != "cuda":
            return 0
        return self.models[model].num_gpus if model else 1

    def on_gpus(self, model: str | None = None) -> str:
        """What to put before a command that trains or predicts, so that each has GPUs of its own."""
        number = self.gpus(model)
        return f"python -m nnunetv2_dualagg.workflow.gpus {number}" if number else ""

    def thread_variables(self, threads: int) -> str:
        """Variables that make nnU-Net use as many threads and processes as a training may have."""
        on_cpu = self.config.device == "cpu"
        processes = self.config.augmentation_processes
        if processes is None:
            processes = 1 if on_cpu else threads
        exporting = min(8, threads)  # of the validation's predictions; 8 is nnU-Net's default
        return f"OMP_NUM_THREADS={threads if on_cpu else 1} nnUNet_n_proc_DA={processes} nnUNet_def_n_proc={exporting}"

    def predict_options(self, name: str) -> str:
        """Options of ``nnUNetv2_predict``, but for folders and processes."""
        method = self.methods[name]
        ensembled = any(name in members for members in self.config.ensembles.values())
        words = [
            *("-d", self.data.number, "-c", method.configuration, "-tr", method.trainer, "-p", method.plans),
            *("-f", *self.config.folds_of(method), "-device", self.config.device, "-step_size", self.config.step_size),
            *([] if self.config.test_time_augmentation else ["--disable_tta"]),
            *(["--save_probabilities"] if ensembled else []),
        ]
        return shlex.join(map(str, words))

    def predictions(self) -> dict[str, list[str]]:
        """Method or ensemble -> a folder of predictions per seed."""
        names = [*self.methods, *self.config.ensembles]
        return {name: [f"predictions/seed_{seed}/{name}" for seed in self.config.seeds] for name in names}

    def all_predicted(self) -> list[str]:
        """All folders of predictions."""
        return [folder for folders in self.predictions().values() for folder in folders]

    def validations(self) -> dict[str, list[str]]:
        """Method -> nnU-Net's folders of validation predictions, one per seed and fold."""
        found: dict[str, list[str]] = {name: [] for name in self.methods}
        for method, seed, fold in self.trainings():
            found[method.name].append(str(Path(self.trained(method, seed, fold)).parent))
        return found

    def fold_folders(self) -> dict[str, list[str]]:
        """Method -> nnU-Net's folders of its folds, one per seed and fold."""
        found: dict[str, list[str]] = {name: [] for name in self.methods}
        for method, seed, fold in self.trainings():
            found[method.name].append(f"{self.results(method, seed)}/fold_{fold}")
        return found

    def trainings(self) -> list[tuple[Method, int, int]]:
        """All trainings: method, seed and fold."""
        config = self.config
        return [(m, s, f) for s in config.seeds for m in config.methods for f in config.folds_of(m)]

    def all_trained(self) -> list[str]:
        """What all trainings write."""
        return [self.trained(*training) for training in self.trainings()]

    def tissue_options(self) -> list[str]:
        """Options of ``compare`` for predictions of other data; in the validation all tissues count."""
        return ["-tissues", *self.config.tissues] if self.config.tissues else []

    def validation_options(self) -> list[str]:
        """Options of ``compare`` for the validation: the two sources of a dataset are told apart by their sites."""
        return ["-sites", str(self.data.raw / SITES_FILE)] if len(self.config.dataset.sources) > 1 else []

    def targets(self) -> list[str]:
        """What the workflow is for."""
        predicted = self.all_predicted() if self.data.images() else []
        last = ["comparison"] if predicted and self.data.references() else predicted
        return [*last, "comparison_validation", "curves"]


def pairs(folders: dict[str, list[str]]) -> str:
    """``NAME=DIR ...`` as ``compare`` and ``curves`` take them."""
    return shlex.join(f"{name}={folder}" for name, given in folders.items() for folder in given)
