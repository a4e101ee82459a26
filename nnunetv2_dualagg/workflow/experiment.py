"""Files and commands of the workflow's jobs. The Snakefile asks here, and only says how they hang together.

All paths are relative to the workflow's folder, in which Snakemake works, unless the user gave others.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE
from nnunetv2_dualagg.workflow.config import PLANNERS, Config, Method

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
        self.methods = {method.name: method for method in config.methods}
        self.models = {method.model: method for method in config.methods}
        self.plans = list(dict.fromkeys(method.plans for method in config.methods))

    @property
    def dataset(self) -> str:
        """The dataset's full name."""
        if self.config.source == "raw":
            return Path(self.config.dataset["raw"]).name
        year = self.config.dataset["iseg"].get("year", 2019) if self.config.source == "iseg" else 2019
        return f"Dataset{self.config.dataset['id']:03d}_iSeg{year}"

    @property
    def number(self) -> int:
        """The dataset's number."""
        return int(self.dataset[len("Dataset") :][:3])

    @property
    def raw(self) -> Path:
        """The raw dataset."""
        return Path(self.config.dataset["raw"]) if self.config.source == "raw" else Path("nnUNet_raw") / self.dataset

    @property
    def preprocessed(self) -> Path:
        """The dataset's folder below nnUNet_preprocessed."""
        return Path("nnUNet_preprocessed") / self.dataset

    def environment(self) -> dict[str, str]:
        """The variables with which every job runs: nnU-Net's folders, and the programs of this Python first."""
        variables = {
            "nnUNet_raw": str((self.root / self.raw).parent),
            "nnUNet_preprocessed": str(self.root / "nnUNet_preprocessed"),
            "nnUNet_results": str(self.root / "nnUNet_results"),
            VARIABLE: os.environ.get(VARIABLE, str(EXT_TRAINER_FOLDER)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONUNBUFFERED": "1",
        }
        return variables

    # The data

    def phantom_options(self) -> str:
        """Options of ``nnUNetv2_dualagg phantom``."""
        words: list[Any] = []
        for key, value in self.config.dataset["phantom"].items():
            words += ["-maps" if key == "maps" else f"--{key}", *(value if isinstance(value, list) else [value])]
        return shlex.join(map(str, words))

    def iseg_folders(self) -> list[str]:
        """What ``convert_iseg`` converts."""
        if self.config.source == "phantom":
            return [f"phantom/iSeg-2019-{part}" for part in ("Training", "Testing", "Testing-labels")]
        return [str(folder) for folder in self.config.dataset["iseg"]["folders"]]

    def sites_option(self) -> str:
        """``-sites FILE`` of ``convert_iseg``, or nothing."""
        sites = "phantom/sites.csv" if self.config.source == "phantom" else self.config.dataset["iseg"].get("sites")
        return shlex.join(["-sites", sites]) if sites else ""

    def splits_command(self) -> str:
        """The command that makes ``splits_final.json``."""
        splits, target = self.config.splits, str(self.preprocessed / "splits_final.json")
        if isinstance(splits, str) and splits.endswith(".json"):
            return shlex.join(["cp", splits, target])
        option = ["--holdout", *splits] if isinstance(splits, list) else [f"--{splits}"]
        return shlex.join(["nnUNetv2_dualagg", "splits", "-d", str(self.number), *option])

    # Planning and preprocessing

    def planning_command(self, plans: str) -> str:
        """The command that writes plans."""
        return f"{PLANNERS[plans]} {self.number}"

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

    # Training, prediction, comparison

    def trained(self, method: Method, seed: int, fold: int) -> str:
        """What nnU-Net writes last for a fold."""
        return f"{self.results(method, seed)}/fold_{fold}/validation/summary.json"

    def results(self, method: Method, seed: int) -> str:
        """nnU-Net's folder of a method's results."""
        return f"nnUNet_results/seed_{seed}/{self.dataset}/{method.model}"

    def needed_to_train(self, model: str) -> list[str]:
        """What has to be there before a training starts."""
        method = self.models[model]
        files = [self.preprocessed / "splits_final.json", self.preprocessed / f"{method.plans}.json"]
        if (method.plans, method.configuration) in self.added():
            files.append(Path("done/configuration") / method.plans / method.configuration)
        return [*map(str, files), f"done/preprocess/{self.identifier(method)}"]

    def train_arguments(self, model: str) -> str:
        """Arguments of ``nnUNetv2_train``, but for dataset, configuration and fold."""
        method = self.models[model]
        gpus = f" -num_gpus {method.num_gpus}" if method.num_gpus > 1 else ""
        return f"-tr {method.trainer} -p {method.plans} -device {self.config.device}{gpus}"

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
        return f"OMP_NUM_THREADS={threads if on_cpu else 1} nnUNet_n_proc_DA={processes} nnUNet_def_n_proc=1"

    def images(self) -> str:
        """The images to predict."""
        return str(self.config.dataset.get("images") or self.raw / "imagesTs")

    def predict_options(self, name: str) -> str:
        """Options of ``nnUNetv2_predict``, but for folders and processes."""
        method = self.methods[name]
        ensembled = any(name in members for members in self.config.ensembles.values())
        words = [
            *("-d", self.number, "-c", method.configuration, "-tr", method.trainer, "-p", method.plans),
            *("-f", *self.config.folds, "-device", self.config.device, "-step_size", self.config.step_size),
            *([] if self.config.test_time_augmentation else ["--disable_tta"]),
            *(["--save_probabilities"] if ensembled else []),
        ]
        return shlex.join(map(str, words))

    def references(self) -> str | None:
        """Reference segmentations of the predicted images, if there are any."""
        given = self.config.dataset.get("references")
        if given:
            return str(given)
        made = self.config.source == "phantom"
        return str(self.raw / "labelsTs") if made or (self.root / self.raw / "labelsTs").is_dir() else None

    def sites(self) -> str | None:
        """``sites.json``, if the dataset has one."""
        converted = self.config.source != "raw" or (self.root / self.raw / "sites.json").is_file()
        return str(self.raw / "sites.json") if converted else None

    def predictions(self) -> dict[str, list[str]]:
        """Method or ensemble -> a folder of predictions a seed."""
        names = [*self.methods, *self.config.ensembles]
        return {name: [f"predictions/seed_{seed}/{name}" for seed in self.config.seeds] for name in names}

    def all_predicted(self) -> list[str]:
        """All folders of predictions."""
        return [folder for folders in self.predictions().values() for folder in folders]

    def validations(self) -> dict[str, list[str]]:
        """Method -> nnU-Net's folders of validation predictions, one a seed and fold."""
        return {name: [f"{fold}/validation" for fold in self.folds(method)] for name, method in self.methods.items()}

    def folds(self, method: Method) -> list[str]:
        """A method's folders of trained folds, over all seeds."""
        return [f"{self.results(method, s)}/fold_{f}" for s in self.config.seeds for f in self.config.folds]

    def trainings(self) -> list[tuple[Method, int, int]]:
        """All trainings: method, seed and fold."""
        return [(m, s, f) for s in self.config.seeds for f in self.config.folds for m in self.config.methods]

    def all_trained(self) -> list[str]:
        """What all trainings write."""
        return [self.trained(*training) for training in self.trainings()]

    def targets(self) -> list[str]:
        """What the workflow is for."""
        last = ["comparison"] if self.references() else self.all_predicted()
        return [*last, "comparison_validation", "curves"]


def pairs(folders: dict[str, list[str]]) -> str:
    """``NAME=DIR ...`` as ``compare`` and ``curves`` take them."""
    return shlex.join(f"{name}={folder}" for name, given in folders.items() for folder in given)
