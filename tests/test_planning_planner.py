import json
import math
import pydoc
import shutil

import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset, preprocess_dataset
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planning_data import pretend_geometry, set_folders, use_threads, write_dataset, write_dataset_with_fingerprint

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.network_options import network_options
from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.planning.plan import describe_plans, plan_dataset
from nnunetv2_dualagg.planning.planner import DualAggPlanner
from nnunetv2_dualagg.utils.errors import UserError

LARGE = ((96, 128, 160), (1.0, 1.0, 1.0))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    return set_folders(tmp_path, monkeypatch)


@pytest.fixture
def dataset(folders):
    return write_dataset_with_fingerprint(folders.raw)


def configurations(file):
    return json.loads(file.read_text())["configurations"]


def build(file, configuration, input_channels, heads, deep_supervision=True):
    """The network as nnU-Net's stock trainer builds it."""
    planned = PlansManager(str(file)).get_configuration(configuration)
    network = get_network_from_plans(
        planned.network_arch_class_name,
        planned.network_arch_init_kwargs,
        planned.network_arch_init_kwargs_req_import,
        input_channels,
        heads,
        deep_supervision=deep_supervision,
    )
    return network, planned.patch_size


def train_one_step(network, patch, input_channels):
    outputs = network(torch.randn(2, input_channels, *patch))
    sum(o.square().mean() for o in outputs).backward()
    assert all(p.grad is not None for p in network.parameters())
    return outputs


def test_nnunet_builds_and_trains_our_network_from_the_plans(dataset):
    file = plan_dataset(1)
    assert file.name == "nnUNetDualAggPlans.json"
    planned = configurations(file)
    assert set(planned) == {"2d", "3d_fullres", "3d_paper"}
    for name in planned:
        assert pydoc.locate(planned[name]["architecture"]["network_class_name"]) is DualAggUNet
    network, patch = build(file, "3d_fullres", 2, 4)
    outputs = train_one_step(network, patch, 2)
    assert outputs[0].shape == (2, 4, *patch)
    assert len(outputs) == planned["3d_fullres"]["architecture"]["arch_kwargs"]["n_stages"] - 1


def test_topology_is_that_of_nnunets_default_plans(dataset):
    default, _ = plan_experiment_dataset(1)
    ours = configurations(plan_dataset(1))
    for name in ("2d", "3d_fullres"):
        planned = json.loads(json.dumps(default["configurations"][name]["architecture"]["arch_kwargs"]))
        options = network_options(planned, default["configurations"][name]["use_mask_for_norm"])
        assert ours[name]["architecture"]["arch_kwargs"] == planned | options


def test_two_dimensional_data(folders):
    write_dataset_with_fingerprint(folders.raw, shape=(32, 40, 1), spacing=(1.0, 1.0, 999.0), channels=("T1",))
    file = plan_dataset(1)
    assert set(configurations(file)) == {"2d"}
    network, patch = build(file, "2d", 1, 4)
    assert train_one_step(network, patch, 1)[0].shape == (2, 4, *patch)
    assert "nnUNetv2_train 1 2d 0 -p nnUNetDualAggPlans" in describe_plans(file)


def test_anisotropic_data_has_anisotropic_kernels_and_no_paper_configuration(folders):
    write_dataset_with_fingerprint(folders.raw, shape=(40, 36, 10), spacing=(1.0, 1.0, 5.0), channels=("T2",))
    file = plan_dataset(1)
    planned = configurations(file)
    assert set(planned) == {"2d", "3d_fullres"}
    assert [1, 3, 3] in planned["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"]
    assert [1, 2, 2] in planned["3d_fullres"]["architecture"]["arch_kwargs"]["strides"]
    network, patch = build(file, "3d_fullres", 1, 4)
    assert train_one_step(network, patch, 1)[0].shape == (2, 4, *patch)


def test_regions(folders):
    regions = {"background": 0, "whole": [1, 2, 3], "GM and WM": [2, 3], "WM": 3}
    write_dataset_with_fingerprint(folders.raw, labels=regions)
    file = plan_dataset(1)
    labels = PlansManager(str(file)).get_label_manager({"labels": regions, "regions_class_order": [1, 2, 3]})
    network, patch = build(file, "3d_fullres", 2, labels.num_segmentation_heads)
    assert train_one_step(network, patch, 2)[0].shape == (2, 3, *patch)


def test_paper_configuration(dataset):
    file = plan_dataset(1)
    paper = PlansManager(str(file)).get_configuration("3d_paper")
    assert (paper.patch_size, paper.batch_size) == ([32, 32, 32], 5)
    assert paper.data_identifier == "nnUNetPlans_3d_fullres"
    network, patch = build(file, "3d_paper", 2, 4)
    assert [stage(x)[0].shape[1] for stage, x in _stages_with_input(network)] == [32, 64, 128]
    outputs = train_one_step(network, patch, 2)
    assert [tuple(o.shape[2:]) for o in outputs] == [(32, 32, 32), (16, 16, 16)]
    kinds = {type(m) for m in network.modules()}
    assert torch.nn.BatchNorm3d in kinds
    assert torch.nn.ReLU6 in kinds
    assert not kinds & {torch.nn.InstanceNorm3d, torch.nn.LeakyReLU}
    assert all(m.max_key_tokens >= 32**3 for m in network.modules() if hasattr(m, "max_key_tokens"))


def _stages_with_input(network):
    """Each encoder stage, with a map of the width that it takes."""
    for stage, (channels, size) in zip(network.encoder.stages, [(32, 8), (32, 8), (64, 8)], strict=True):
        yield stage, torch.randn(2, channels, *[size] * 3)


def test_paper_configuration_with_concatenated_skips_is_one_word_in_the_plans(dataset):
    file = plan_dataset(1)
    added = build(file, "3d_paper", 2, 4)[0]
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_paper"]["architecture"]["arch_kwargs"]["concat_skips"] = True
    file.write_text(json.dumps(plans))
    concatenated = build(file, "3d_paper", 2, 4)[0]
    assert sum(p.numel() for p in concatenated.parameters()) > sum(p.numel() for p in added.parameters())


def test_patch_grows_with_the_gpu_memory_target(folders, dataset):
    pretend_geometry(folders, dataset, *LARGE)
    planned = [
        configurations(plan_dataset(1, gpu_memory_target=target, plans_name=f"P{target}")) for target in (1, 4, 8)
    ]
    voxels = [math.prod(p["3d_fullres"]["patch_size"]) for p in planned]
    assert voxels == sorted(set(voxels))
    slices = [p["2d"]["batch_size"] * math.prod(p["2d"]["patch_size"]) for p in planned]
    assert slices == sorted(set(slices))


def test_estimate_grows_with_the_patch_and_counts_our_modules(dataset):
    file = plan_dataset(1)
    planned = configurations(file)["3d_fullres"]["architecture"]

    def estimate(patch, **kwargs):
        architecture = {**planned["arch_kwargs"], **kwargs}
        return DualAggPlanner.static_estimate_VRAM_usage(
            patch, 2, 4, planned["network_class_name"], architecture, planned["_kw_requires_import"]
        )

    estimates = [estimate(patch) for patch in ((16, 16, 16), (16, 16, 32), (16, 32, 32), (32, 32, 32))]
    assert estimates == sorted(set(estimates))
    assert estimate((32, 32, 32), attention=False) < estimate((32, 32, 32))
    network, _ = build(file, "3d_fullres", 2, 4, deep_supervision=False)
    assert estimate((32, 32, 32)) == network.compute_conv_feature_map_size((32, 32, 32))


def test_cascade(folders, dataset):
    pretend_geometry(folders, dataset, *LARGE)
    file = plan_dataset(1, gpu_memory_target=1)
    planned = configurations(file)
    assert planned["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
    assert planned["3d_lowres"]["data_identifier"] == "nnUNetDualAggPlans_3d_lowres"
    cascade = PlansManager(str(file)).get_configuration("3d_cascade_fullres")
    assert cascade.previous_stage_name == "3d_lowres"
    assert cascade.data_identifier == "nnUNetPlans_3d_fullres"
    network, patch = build(file, "3d_lowres", 2, 4)
    assert network.compute_conv_feature_map_size(patch) > 0


@pytest.mark.parametrize("with_default_plans", [False, True])
def test_data_is_shared_with_the_default_plans_where_it_is_the_same(dataset, with_default_plans):
    if with_default_plans:
        plan_experiment_dataset(1)
    shared = configurations(plan_dataset(1, gpu_memory_target=4, plans_name="Small"))
    assert shared["3d_fullres"]["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert shared["2d"]["data_identifier"] == "nnUNetPlans_2d"
    own = configurations(plan_dataset(1, overwrite_target_spacing=(1.5, 1.5, 1.5), plans_name="Coarse"))
    assert own["3d_fullres"]["data_identifier"] == "Coarse_3d_fullres"
    assert own["3d_fullres"]["spacing"] == [1.5, 1.5, 1.5]
    assert own["2d"]["data_identifier"] == "Coarse_2d"


def test_data_is_not_shared_with_default_plans_of_another_spacing(dataset):
    plan_experiment_dataset(1, overwrite_target_spacing=(1.5, 1.5, 1.5))
    planned = configurations(plan_dataset(1))
    assert planned["3d_fullres"]["data_identifier"] == "nnUNetDualAggPlans_3d_fullres"


def test_next_commands_name_preprocessing_until_it_is_done(dataset):
    file = plan_dataset(1)
    command = "nnUNetv2_preprocess -d 1 -plans_name nnUNetDualAggPlans -c 3d_fullres"
    assert command in describe_plans(file)
    preprocess_dataset(1, "nnUNetDualAggPlans", ["3d_fullres"], [1], show_progress_bar=False)
    assert command not in describe_plans(file)
    assert "nnUNetv2_train 1 3d_fullres 0 -p nnUNetDualAggPlans" in describe_plans(file)


def test_planning_again_changes_nothing_unless_asked(dataset):
    file = plan_dataset(1)
    before = file.read_text()
    plan_dataset(1)
    assert file.read_text() == before
    with pytest.raises(UserError, match=r"exists already and differs.*--overwrite"):
        plan_dataset(1, overwrite_target_spacing=(1.5, 1.5, 1.5))
    assert file.read_text() == before
    plan_dataset(1, overwrite_target_spacing=(1.5, 1.5, 1.5), overwrite=True)
    assert configurations(file)["3d_fullres"]["spacing"] == [1.5, 1.5, 1.5]
    assert [f.name for f in file.parent.glob(".*")] == []


def test_configurations_of_the_user_are_kept_and_outdated_ones_are_not(folders, dataset):
    file = plan_dataset(1)
    plans = json.loads(file.read_text())
    mine = {"inherits_from": "3d_paper", "batch_size": 2}
    plans["configurations"].update(mine=mine)
    plans["configurations"]["3d_lowres"] = plans["configurations"]["3d_fullres"]
    file.write_text(json.dumps(plans))
    plan_dataset(1, overwrite=True)
    planned = configurations(file)
    assert planned["mine"] == mine
    assert "3d_lowres" not in planned


def test_command(dataset, folders, capsys):
    write_dataset_with_fingerprint(folders.raw, number=2, channels=("T1",))
    options = "-gpu_memory_target 4 -overwrite_target_spacing 1 1 1.25 -overwrite_plans_name Mine"
    assert main(["plan", "-d", "1", "Dataset002_Boxes", *options.split()]) == 0
    for name in (dataset, "Dataset002_Boxes"):
        planned = configurations(folders.preprocessed / name / "Mine.json")
        assert planned["3d_fullres"]["spacing"] == [1.25, 1, 1]  # nnU-Net puts the coarsest axis first
    printed = capsys.readouterr().out
    assert "nnUNetv2_preprocess -d 2 -plans_name Mine -c 3d_fullres" in printed
    assert "Attempting" not in printed
    assert main(["plan", "-d", "3"]) == 1
    assert "there is no dataset 3" in capsys.readouterr().err


def test_plans_of_another_planner_are_safe(dataset, folders):
    plan_experiment_dataset(1)
    file = folders.preprocessed / dataset / "nnUNetPlans.json"
    before = file.read_text()
    with pytest.raises(UserError, match="written by ExperimentPlanner"):
        plan_dataset(1, plans_name="nnUNetPlans", overwrite=True)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gpu_memory_target": 0}, "expected more than 0"),
        ({"gpu_memory_target": float("nan")}, "expected more than 0"),
        ({"overwrite_target_spacing": (1, 0, 1)}, "three numbers above 0"),
        ({"overwrite_target_spacing": (1, 1)}, "three numbers above 0"),
        ({"plans_name": "my__plans"}, "name is 'my__plans'"),
        ({"plans_name": "../plans"}, "name is '../plans'"),
        ({"preprocessor_name": "NoSuch"}, "no preprocessor NoSuch"),
    ],
)
def test_bad_options(folders, options, sentence):
    write_dataset(folders.raw, cases=1)
    with pytest.raises(UserError, match=sentence):
        plan_dataset(1, **options)


def test_memory_that_is_too_small_for_any_network(dataset, folders):
    with pytest.raises(UserError, match=r"fewer than the 3 stages .* GPU memory target is too low"):
        plan_dataset(1, gpu_memory_target=0.001)
    assert not list((folders.preprocessed / dataset).glob("*Plans.json"))


def test_images_too_small_for_any_network(folders):
    write_dataset_with_fingerprint(folders.raw, shape=(12, 12, 12), channels=("T1",))
    with pytest.raises(UserError, match="the images are too small"):
        plan_dataset(1)


def test_missing_data(folders, monkeypatch):
    with pytest.raises(UserError, match="no dataset 1 in"):
        plan_dataset(1)
    name = write_dataset(folders.raw)
    with pytest.raises(UserError, match=r"no fingerprint.*nnUNetv2_extract_fingerprint -d 1"):
        plan_dataset(name)
    write_dataset(folders.raw, number=2)
    (folders.raw / "Dataset002_Boxes").rename(folders.raw / "Dataset001_Other")
    with pytest.raises(UserError, match="ambiguous: Dataset001_Boxes, Dataset001_Other"):
        plan_dataset("1")
    (folders.preprocessed / name).mkdir()
    shutil.rmtree(folders.raw / name)
    with pytest.raises(UserError, match=r"dataset\.json does not exist"):
        plan_dataset(name)
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(UserError, match="nnUNet_raw is not set"):
        plan_dataset(name)


def test_split_in_the_raw_dataset_that_differs(dataset, folders):
    split = [{"train": ["iSeg_001", "iSeg_002"], "val": ["iSeg_003"]}]
    (folders.raw / dataset / "splits_final.json").write_text(json.dumps(split))
    (folders.preprocessed / dataset / "splits_final.json").write_text(json.dumps([{"train": ["iSeg_001"], "val": []}]))
    with pytest.raises(UserError, match="prescribes other folds"):
        plan_dataset(1)
