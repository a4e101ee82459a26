import json
import shutil
from pathlib import Path

import pytest
from nnunet_commands import run_command
from planning_data import set_folders, use_threads, write_dataset_with_fingerprint
from workflow_files import TINY, small_config

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.workflow.config import PLANNERS, parse_config
from nnunetv2_dualagg.workflow.estimate import epochs, estimate, training_hours
from nnunetv2_dualagg.workflow.experiment import Experiment, pairs

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def experiment(tmp_path, **changes):
    return Experiment(parse_config(small_config(**changes)), tmp_path)


def methods(*triples):
    return {f"m{i}": dict(zip(("trainer", "plans", "configuration"), t, strict=True)) for i, t in enumerate(triples)}


def test_data_that_methods_share_is_preprocessed_once(tmp_path):
    made = experiment(
        tmp_path,
        methods=methods(
            ("A", "nnUNetResEncUNetMPlans", "3d_tiny"),
            ("A", "nnUNetPlans", "3d_tiny"),
            ("B", "nnUNetPlans", "3d_fullres"),
            ("B", "nnUNetDualAggPlans", "3d_paper"),
            ("B", "nnUNetPlans", "2d"),
            ("B", "nnUNetResEncUNetMPlans", "2d"),
            ("B", "nnUNetPlans", "3d_lowres"),
            ("B", "nnUNetResEncUNetMPlans", "3d_lowres"),  # its voxel size follows from the patch: data of its own
        ),
    )
    assert made.identifiers() == {
        "nnUNetPlans_3d_fullres": ("nnUNetPlans", "3d_fullres"),
        "nnUNetPlans_2d": ("nnUNetPlans", "2d"),
        "nnUNetPlans_3d_lowres": ("nnUNetPlans", "3d_lowres"),
        "nnUNetResEncUNetMPlans_3d_lowres": ("nnUNetResEncUNetMPlans", "3d_lowres"),
    }


def test_shared_data_comes_from_the_plans_there_are(tmp_path):
    made = experiment(tmp_path, methods=methods(("A", "nnUNetResEncUNetLPlans", "3d_fullres")))
    assert made.identifiers() == {"nnUNetPlans_3d_fullres": ("nnUNetResEncUNetLPlans", "3d_fullres")}


def test_the_plans_name_the_data_as_it_was_foreseen(tmp_path, monkeypatch):
    folders = set_folders(tmp_path, monkeypatch)
    use_threads(monkeypatch)
    name = write_dataset_with_fingerprint(folders.raw)
    triples = [("A", plans, configuration) for plans in PLANNERS for configuration in ("2d", "3d_fullres")]
    made = experiment(tmp_path, methods=methods(*triples), dataset={"raw": str(folders.raw / name)})
    for plans in PLANNERS:
        run_command(made.planning_command(plans))
    for method in made.config.methods:
        plans = json.loads((folders.preprocessed / name / f"{method.plans}.json").read_text())
        assert plans["configurations"][method.configuration]["data_identifier"] == made.identifier(method)


def test_reduced_configurations_are_added_where_they_are_used(tmp_path):
    made = experiment(tmp_path, reduced_configurations={"3d_tiny": TINY, "3d_other": TINY})
    assert made.added() == [("nnUNetPlans", "3d_tiny"), ("nnUNetResEncUNetMPlans", "3d_tiny")]
    assert made.configuration_options("3d_tiny") == "-patch_size 16 16 16 -batch_size 2 -features_per_stage 4 8 8"
    needed = made.needed_to_train("nnUNetTrainerShort__nnUNetResEncUNetMPlans__3d_tiny")
    assert needed == [
        "done/splits",
        "done/plan/nnUNetResEncUNetMPlans",
        "done/preprocess/nnUNetPlans_3d_fullres",
        "done/configuration/nnUNetResEncUNetMPlans/3d_tiny",
    ]


def test_commands_for_all_kinds_of_data(tmp_path):
    phantom = {"num_training": 6, "spacing": [1, 1, 2], "maps": "/some maps"}
    made = experiment(tmp_path, dataset={"id": 7, "phantom": phantom})
    assert made.data.phantom_options() == "--num_training 6 --spacing 1 1 2 -maps '/some maps'"
    folders = "phantom/iSeg-2019-Training phantom/iSeg-2019-Testing phantom/iSeg-2019-Testing-labels"
    convert = "{ nnUNetv2_dualagg convert_iseg -i"
    assert made.data.convert_command(4) == f"{convert} {folders} -d 7 -sites phantom/sites.csv -np 4 --overwrite; }}"
    assert (made.data.name, made.data.number) == ("Dataset007_iSeg2019", 7)

    iseg = {"folders": ["/a b", "/c"], "year": 2017}
    made = experiment(tmp_path, dataset={"id": 7, "iseg": iseg})
    assert made.data.source_folders() == ["/a b", "/c"]
    assert made.data.convert_command(2) == f"{convert} '/a b' /c -d 7 -year 2017 -np 2 --overwrite; }}"
    assert (made.data.name, made.data.references()) == ("Dataset007_iSeg2017", None)
    assert made.targets()[:2] == ["predictions/seed_0/plain", "predictions/seed_1/plain"]
    unknown = experiment(tmp_path, dataset={"id": 7, "iseg": {"folders": ["/a"], "sites": "/s t.csv"}})
    # the converter recognises the year
    assert unknown.data.convert_command(2) == f"{convert} /a -d 7 -sites '/s t.csv' -np 2 --overwrite; }}"
    for training_only in ({"iseg": iseg, "images": False}, {"phantom": {"num_testing": 0}}):
        made = experiment(tmp_path, dataset={"id": 7, **training_only})
        assert made.targets() == ["comparison_validation", "curves"]

    raw = tmp_path / "data" / "Dataset042_X"
    (raw / "labelsTs").mkdir(parents=True)
    made = experiment(tmp_path, dataset={"raw": str(raw)})
    assert (made.data.name, made.data.number, made.data.sites()) == ("Dataset042_X", 42, None)
    assert made.environment()["nnUNet_raw"] == str(tmp_path / "data")
    assert made.data.references() == str(raw / "labelsTs")
    assert made.targets() == ["comparison", "comparison_validation", "curves"]


def test_infants_of_bobs_and_of_both(tmp_path):
    bobs = {"folders": ["/BOBs"], "ages": [5, 6]}
    made = experiment(tmp_path, dataset={"id": 221, "bobs": bobs}, splits="by-subject", folds=[4])
    options = "-i /BOBs -d 221 -ages 5 6 -np 2"
    assert made.data.convert_command(2) == f"{{ nnUNetv2_dualagg convert_bobs {options} --overwrite; }}"
    assert made.data.name == "Dataset221_BOBs"
    head = experiment(tmp_path, dataset={"id": 221, "bobs": bobs | {"keep_head": True}})
    assert head.data.name == "Dataset221_BOBs_head"
    assert "--keep-head" in head.data.convert_command(2)

    made = experiment(tmp_path, dataset={"id": 230, "name": "Infants", "iseg": {"folders": ["/iSeg"]}, "bobs": bobs})
    assert made.data.name == "Dataset230_Infants"
    assert made.data.source_folders() == ["/iSeg", "/BOBs"]
    assert made.validation_options() == ["-sites", "nnUNet_raw/Dataset230_Infants/sites.json"]
    assert head.validation_options() == []
    assert made.data.convert_command(1) == (
        "{ nnUNetv2_dualagg convert_iseg -i /iSeg -d 230 -n Infants -np 1 --overwrite && "
        "nnUNetv2_dualagg convert_bobs -i /BOBs -d 230 -n Infants -ages 5 6 -np 1 --add; }"
    )


def test_references_of_another_dataset_bring_their_own_sites(tmp_path):
    other = tmp_path / "raw" / "Dataset226_BOBs"
    (other / "labelsTr").mkdir(parents=True)
    dataset = {"id": 219, "iseg": {"folders": ["/iSeg"]}, "images": "i", "references": str(other / "labelsTr")}
    made = experiment(tmp_path, dataset=dataset, tissues=["GM", "WM"])
    assert made.data.sites() is None
    (other / "sites.json").touch()
    assert made.data.sites() == str(other / "sites.json")
    assert made.tissue_options() == ["-tissues", "GM", "WM"]
    assert experiment(tmp_path).tissue_options() == []


@pytest.mark.parametrize(
    ("splits", "command"),
    [
        ("default", "nnUNetv2_dualagg splits -d 219 --default"),
        ("loso", "nnUNetv2_dualagg splits -d 219 --loso"),
        ("by-subject", "nnUNetv2_dualagg splits -d 219 --by-subject"),
        (["iSeg_001", "iSeg_002"], "nnUNetv2_dualagg splits -d 219 --holdout iSeg_001 iSeg_002"),
        ("my.json", "cp my.json nnUNet_preprocessed/Dataset219_iSeg2019/splits_final.json"),
    ],
)
def test_splits(tmp_path, splits, command):
    assert experiment(tmp_path, splits=splits).splits_command() == command


def test_processor_cores(tmp_path):
    assert experiment(tmp_path).thread_variables(2) == "OMP_NUM_THREADS=2 nnUNet_n_proc_DA=1 nnUNet_def_n_proc=2"
    cuda = experiment(tmp_path, device="cuda")
    assert cuda.thread_variables(12) == "OMP_NUM_THREADS=1 nnUNet_n_proc_DA=12 nnUNet_def_n_proc=8"
    exact = experiment(tmp_path, augmentation_processes=0)
    assert exact.thread_variables(1) == "OMP_NUM_THREADS=1 nnUNet_n_proc_DA=0 nnUNet_def_n_proc=1"


def test_several_gpus_a_training(tmp_path):
    config = small_config(device="cuda")
    config["methods"]["plain"]["num_gpus"] = 4
    made = Experiment(parse_config(config), tmp_path)
    plain, resenc = (method.model for method in made.config.methods)
    assert made.train_arguments(plain) == "-tr nnUNetTrainerShort -p nnUNetPlans -device cuda -num_gpus 4"
    assert [made.gpus(plain), made.gpus(resenc), made.gpus()] == [4, 1, 1]
    assert made.on_gpus(plain) == "python -m nnunetv2_dualagg.workflow.gpus 4"
    assert (experiment(tmp_path).gpus(plain), experiment(tmp_path).on_gpus(plain)) == (0, "")


def test_members_of_an_ensemble_keep_their_probabilities(tmp_path):
    made = experiment(tmp_path, ensembles={"both": ["plain", "resenc"]}, folds=[0, 3])
    assert made.predict_options("plain") == (
        "-d 219 -c 3d_tiny -tr nnUNetTrainerShort -p nnUNetPlans -f 0 3 -device cpu -step_size 1.0 --disable_tta "
        "--save_probabilities"
    )
    assert "--save_probabilities" not in experiment(tmp_path).predict_options("plain")
    assert made.predictions()["both"] == ["predictions/seed_0/both", "predictions/seed_1/both"]


def test_a_method_may_have_folds_of_its_own(tmp_path):
    plain = small_config()["methods"]["plain"]
    oracle = {**plain, "folds": [1, 2]}
    made = experiment(tmp_path, methods={"plain": plain, "oracle": oracle}, splits="by-site", seeds=[0])
    assert [(method.name, fold) for method, _, fold in made.trainings()] == [("plain", 0), ("oracle", 1), ("oracle", 2)]
    assert len(made.all_trained()) == len(set(made.all_trained())) == 3
    assert "-f 1 2 " in made.predict_options("oracle")
    assert "-f 0 " in made.predict_options("plain")
    assert [Path(file).parts[-3] for file in made.trained_folds("oracle", 0)] == ["fold_1", "fold_2"]
    assert [Path(folder).name for folder in made.fold_folders()["oracle"]] == ["fold_1", "fold_2"]
    assert made.splits_command().endswith("--by-site")


def test_every_method_fold_and_seed_is_trained_once(tmp_path):
    made = experiment(tmp_path, folds=[0, 1, 2], seeds=[0, 5])
    assert len(made.all_trained()) == len(set(made.all_trained())) == 2 * 3 * 2
    assert made.trained(made.config.methods[0], 5, 2) == (
        "nnUNet_results/seed_5/Dataset219_iSeg2019/nnUNetTrainerShort__nnUNetPlans__3d_tiny/fold_2/validation/summary.json"
    )
    assert made.fold_folders()["plain"][3].endswith(
        "seed_5/Dataset219_iSeg2019/nnUNetTrainerShort__nnUNetPlans__3d_tiny/fold_0"
    )
    validations = made.validations()["resenc"]
    assert len(validations) == 6
    assert validations[0].endswith(
        "seed_0/Dataset219_iSeg2019/nnUNetTrainerShort__nnUNetResEncUNetMPlans__3d_tiny/fold_0/validation"
    )
    assert pairs({"a": ["x", "y z"], "b": ["w"]}) == "a=x 'a=y z' b=w"


BENCHMARK = {
    "options": {"device": "cuda"},
    "setting": {"patch_size": [128, 128, 128], "batch_size": 2},
    "networks": {
        "PlainConvUNet": {"step_seconds": 0.2, "patch_seconds": 0.05},
        "ResidualEncoderUNet": {"step_seconds": 0.4, "patch_seconds": 0.1},
        "DualAggUNet": {"step_seconds": 0.3, "patch_seconds": 0.08},
    },
}


def test_the_estimate_counts_what_is_left(tmp_path):
    (tmp_path / "benchmark.json").write_text(json.dumps(BENCHMARK))
    config = small_config(device="cuda", benchmark="benchmark.json", folds=[0, 1])
    config["methods"] = {
        "plain": {"trainer": "nnUNetTrainer"},
        "dualagg": {"trainer": "nnUNetTrainerDualAgg_50epochs", "num_gpus": 2},
    }
    made = Experiment(parse_config(config), tmp_path)
    done = tmp_path / made.trained(made.config.methods[0], 1, 0)
    done.parent.mkdir(parents=True)
    done.touch()
    # An epoch: 250 x 0.2 + 50 x 2 x 0.05 = 55 s, so 1000 take 15.28 h; 3 of 4 trainings are left.
    assert training_hours(made.config.methods[0], BENCHMARK) == pytest.approx(55 * 1000 / 3600)
    # 250 x 0.3 + 50 x 2 x 0.08 = 83 s, 50 of them 1.15 h, on two GPUs 2.31; 4 trainings.
    text = estimate(made)
    assert "3 x 1000 epochs, 15.28 GPU-hours each: 45.8" in text
    assert "4 x 50 epochs, 2.31 GPU-hours each: 9.2" in text
    assert "Together 55.1 GPU-hours with the benchmark's patches and batches (128x128x128, 2)" in text
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(UserError, match=r"benchmark\.json: its content lacks networks"):
        estimate(made)


@pytest.mark.parametrize(
    ("trainer", "number"),
    [
        ("nnUNetTrainer", 1000),
        ("nnUNetTrainer_1epoch", 1),
        ("nnUNetTrainerDualAgg_250epochs", 250),
        ("nnUNetTrainer_50epochs_NoMirroring", 50),
    ],
)
def test_the_length_of_a_training_is_in_the_trainers_name(tmp_path, trainer, number):
    config = parse_config(small_config(methods={"a": {"trainer": trainer, "plans": "nnUNetPlans"}}))
    assert epochs(config.methods[0]) == number


def test_the_estimate_reads_the_benchmark_of_an_earlier_version(tmp_path):
    """A file of version 0.1.0, without ranges."""
    shutil.copy(RESULTS / "benchmark_cpu_amd-epyc-2-cores.json", tmp_path / "benchmark.json")
    made = experiment(tmp_path, benchmark="benchmark.json")
    assert "hours with the benchmark's patches and batches (48x48x48, 2)" in estimate(made)
