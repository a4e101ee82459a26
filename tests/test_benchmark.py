import json
from types import SimpleNamespace

import planning_data
import pytest
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncM,
)
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunetv2_dualagg.benchmark import measure
from nnunetv2_dualagg.benchmark.inference import Inference
from nnunetv2_dualagg.benchmark.parts import count_flops
from nnunetv2_dualagg.benchmark.run import benchmark, ratio_ranges
from nnunetv2_dualagg.benchmark.setting import DATASET_JSON, NETWORKS, SETTINGS, build, plans_of
from nnunetv2_dualagg.benchmark.table import COLUMNS, ratios_table
from nnunetv2_dualagg.benchmark.training import TrainingStep, make_loss
from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.planning.paper import paper_configuration
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

CPU = torch.device("cpu")
TINY = SETTINGS["tiny"]


def test_command_writes_what_it_prints(tmp_path, capsys):
    file = tmp_path / "benchmark.json"
    arguments = ["benchmark", "-o", str(file), "-device", "cpu", "-setting", "tiny", "-batch", "2"]
    assert main([*arguments, "-volume", "8", "12", "16", "-repeats", "3", "-volume_repeats", "1"]) == 0
    result, printed = json.loads(file.read_text()), capsys.readouterr().out

    options = {"setting": "tiny", "device": "cpu", "torch_compile": False, "repeats": 3, "volume_repeats": 1}
    assert result["options"] == options
    assert (result["setting"]["batch_size"], result["setting"]["volume"]) == (2, [8, 12, 16])
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert list(result["networks"]) == list(NETWORKS)
    for name, values in result["networks"].items():
        assert values["parameters"] == sum(p.numel() for p in build(name, TINY, True).parameters())
        assert len(values["all_step_seconds"]) == 3
        assert min(values["all_step_seconds"]) < values["step_seconds"] < max(values["all_step_seconds"])
        assert values["peak_bytes"] > 4 * 3 * values["parameters"]  # weights, gradients, momentum
    baseline, full = (result["networks"][name] for name in ("PlainConvUNet", "DualAggUNet"))
    assert result["ratios"]["DualAggUNet"]["step_seconds"] == full["step_seconds"] / baseline["step_seconds"]
    assert set(result["ratios"]["PlainConvUNet"].values()) == {1}
    assert f"{result['ratios']['DualAggUNet']['peak_bytes']:.2f}x" in printed

    for what, rounds in (("step", 3), ("patch", 3), ("volume", 1)):
        paired = [
            ours / theirs
            for ours, theirs in zip(full[f"all_{what}_seconds"], baseline[f"all_{what}_seconds"], strict=True)
        ]
        assert len(paired) == rounds
        low, high = result["ratio_ranges"]["DualAggUNet"][f"{what}_seconds"]
        assert [low, high] == [min(paired), max(paired)]
        ratio = result["ratios"]["DualAggUNet"][f"{what}_seconds"]
        assert low <= ratio <= high
        assert f"{ratio:.2f}x ({low:.2f}-{high:.2f})" in printed
    assert "PlainConvUNet" not in result["ratio_ranges"]

    for what in ("parameters", "flops", "time"):
        shares = {part: share[what] for part, share in result["parts"].items()}
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["DCP blocks"] > 0
        assert shares["dual attention"] > 0
    attention = result["position_attention"]
    assert attention["flash"]
    assert attention["largest_difference"] < 1e-5
    assert list(attention["ours"]) == ["4", "8"]
    assert attention["naive"]["4"]["peak_bytes"] > 4 * 3 * 64**2  # weights, their gradient and that of the scores

    assert main(arguments) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"patch_size": (8, 8, 6)}, r"the patch size is \(8, 8, 6\), expected multiples of \(4, 4, 4\)"),
        ({"batch_size": 0}, "at least 1"),
        ({"device": "cuda"}, "no CUDA device"),
    ],
)
def test_impossible_sizes_and_devices_are_refused(tmp_path, monkeypatch, sizes, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        benchmark(tmp_path / "out.json", **{"device": "cpu", "setting_name": "tiny", **sizes})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "planner"), [("iseg", ExperimentPlanner), ("resenc", nnUNetPlannerResEncM)])
def test_settings_are_what_nnunet_plans_for_iseg(tmp_path, monkeypatch, name, planner):
    folders = planning_data.set_folders(tmp_path, monkeypatch)
    dataset = planning_data.write_dataset_with_fingerprint(folders.raw)
    iseg = SETTINGS[name]
    planning_data.pretend_geometry(folders, dataset, iseg.volume, (1.0, 1.0, 1.0), cases=10)
    planned = json.loads(json.dumps(planner(1).plan_experiment(), default=float))["configurations"]["3d_fullres"]
    assert tuple(planned["patch_size"]) == iseg.patch_size
    assert planned["batch_size"] == iseg.batch_size
    planned = planned["architecture"]["arch_kwargs"]
    assert tuple(planned["features_per_stage"]) == iseg.features
    assert tuple(map(tuple, planned["strides"])) == iseg.strides
    ours = plans_of(iseg)[1].configuration["architecture"]["arch_kwargs"] | iseg.ours
    convolutions = "n_blocks_per_stage" if name == "resenc" else "n_conv_per_stage"
    for key in ("kernel_sizes", convolutions, "n_conv_per_stage_decoder", "conv_bias", "norm_op_kwargs"):
        assert json.loads(json.dumps(planned[key])) == json.loads(json.dumps(ours[key]))


def test_paper_setting_is_our_configuration():
    architecture = paper_configuration(DUALAGG_UNET)["architecture"]
    options = (architecture["arch_kwargs"], architecture["_kw_requires_import"])
    expected = get_network_from_plans(DUALAGG_UNET, *options, 2, 4, deep_supervision=True)
    assert repr(build("DualAggUNet", SETTINGS["paper"], deep_supervision=True)) == repr(expected)


def test_training_step_is_that_of_nnunets_trainer():
    """Its own methods, on an object that has what they read."""
    torch.manual_seed(0)
    step = TrainingStep("PlainConvUNet", TINY, CPU, make_loss(2, compiled=False), compiled=False)
    trainer = SimpleNamespace(
        device=CPU,
        network=build("PlainConvUNet", TINY, deep_supervision=True),
        label_manager=PlansManager({"label_manager": "LabelManager"}).get_label_manager(DATASET_JSON),
        configuration_manager=SimpleNamespace(batch_dice=False),
        is_ddp=False,
        enable_deep_supervision=True,
        initial_lr=1e-2,
        weight_decay=3e-5,
        num_epochs=1000,
        grad_scaler=None,
        _do_i_compile=lambda: False,
        _get_deep_supervision_scales=lambda: [[1.0] * 3, [0.5] * 3],
    )
    trainer.network.load_state_dict(step.network.state_dict())
    trainer.loss = nnUNetTrainer._build_loss(trainer)
    trainer.optimizer, _ = nnUNetTrainer.configure_optimizers(trainer)
    for _ in range(2):
        step()
        nnUNetTrainer.train_step(trainer, {"data": step.data, "target": step.targets})
    for expected, parameter in zip(trainer.network.parameters(), step.network.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=0)


def test_flops_are_two_a_multiply_add():
    expected = 0

    def add(module, inputs, output):
        nonlocal expected
        taps = module.weight[0, 0].numel()
        # A transposed convolution works for each voxel of its input, an ordinary one for each of its output.
        voxels = (inputs[0] if module.transposed else output)[0, 0].numel()
        expected += 2 * voxels * taps * module.in_channels * module.out_channels

    network = build("PlainConvUNet", TINY, deep_supervision=False)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.register_forward_hook(add)
    with torch.no_grad():
        network(torch.zeros(1, 2, *TINY.patch_size))
    assert count_flops("PlainConvUNet", TINY)[0] == expected


def test_peak_memory_counts_what_lives_at_the_same_time():
    def run():
        first = torch.empty(1000, 1000)
        second = torch.empty(500, 1000)
        del first
        third = torch.empty(700, 1000)
        del second, third

    assert measure.peak_bytes(run, CPU) == 4_000_000 + 2_000_000


def test_ratios_have_the_range_of_the_rounds():
    baseline = {"all_step_seconds": [1.0, 4.0, 2.0], "all_patch_seconds": [1.0], "all_volume_seconds": [1.0]}
    other = {"all_step_seconds": [2.0, 5.0, 1.0], "all_patch_seconds": [3.0], "all_volume_seconds": [0.5]}
    ranges = ratio_ranges({"PlainConvUNet": baseline, "other": other})
    assert ranges["other"] == {"step_seconds": (0.5, 2), "patch_seconds": (3, 3), "volume_seconds": (0.5, 0.5)}
    ratios = {"other": dict.fromkeys(COLUMNS, 1.5)}
    (row,) = ratios_table(ratios, ranges).splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["1.50x (0.50-2.00)", "1.50x", "1.50x (3.00-3.00)"]


def test_measurements_are_interleaved():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = measure.interleaved_times(functions, 3, CPU, "test", warm_up=1)
    assert "".join(calls) == "ab" + "ababab"
    assert all(len(t) == 3 for t in times.values())
    assert measure.median([3.0, 1.0, 2.0]) == 2


def test_whole_volume_is_covered_by_nnunets_windows():
    inference = Inference("DualAggUNet", TINY, CPU)
    windows = []
    inference.network.register_forward_hook(lambda module, inputs, output: windows.append(inputs[0].shape))
    assert inference.predict_volume().shape == (4, 12, 12, 12)
    assert windows == [(1, 2, 8, 8, 8)] * 8  # two half-overlapping windows per axis
    assert inference.predict_patch().shape == (1, 4, 8, 8, 8)
