import json

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planning_data import set_folders
from trained_model import plans

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def write_plans(folder, network=PLAIN, features=(32, 64, 128, 256), **arch_kwargs):
    file = folder / "nnUNetPlans.json"
    content = plans((64, 64, 64), features=features, network_class=network)
    kwargs = content["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    if network == RESIDUAL:
        del kwargs["n_conv_per_stage"]
        kwargs["n_blocks_per_stage"] = [1, 3, 4, 6]
    kwargs.update(arch_kwargs)
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("network", [PLAIN, RESIDUAL, DUALAGG_UNET])
def test_the_smaller_network_trains_on_its_patch_and_the_rest_of_the_plans_is_kept(tmp_path, network):
    file = write_plans(tmp_path, network)
    before = json.loads(file.read_text())
    add_reduced_configuration(file, "3d_small", [16, 24, 32], 3, [4, 8, 8])
    after = json.loads(file.read_text())
    assert after["configurations"].pop("3d_small")["inherits_from"] == "3d_fullres"
    assert after == before
    configuration = PlansManager(str(file)).get_configuration("3d_small")
    assert configuration.data_identifier == "nnUNetPlans_3d_fullres"
    assert (list(configuration.patch_size), configuration.batch_size) == ([16, 24, 32], 3)
    built = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        2,
        4,
        deep_supervision=True,
    )
    shapes = [tuple(output.shape[1:]) for output in built(torch.zeros(1, 2, 16, 24, 32))]
    assert shapes == [(4, 16, 24, 32), (4, 8, 12, 16)]


def test_the_upper_stages_are_kept_of_encoder_and_decoder(tmp_path):
    file = write_plans(
        tmp_path,
        kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3], [5, 5, 5]],
        strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2], [4, 4, 4]],
        n_conv_per_stage=[1, 2, 3, 4],
        n_conv_per_stage_decoder=[7, 6, 5],  # from the lowest stage up
    )
    add_reduced_configuration(file, "3d_small", [2, 12, 8], 1, [4, 8, 16])
    kwargs = json.loads(file.read_text())["configurations"]["3d_small"]["architecture"]["arch_kwargs"]
    assert kwargs["n_stages"] == 3
    assert kwargs["features_per_stage"] == [4, 8, 16]
    assert kwargs["kernel_sizes"] == [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    assert kwargs["strides"] == [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    assert kwargs["n_conv_per_stage"] == [1, 2, 3]
    assert kwargs["n_conv_per_stage_decoder"] == [6, 5]


def test_the_same_configuration_again_changes_nothing_and_another_one_of_its_name_is_refused(tmp_path):
    file = write_plans(tmp_path)
    add_reduced_configuration(file, "3d_small", [16, 16, 16], 2, [4, 8, 8])
    written = file.read_bytes()
    add_reduced_configuration(file, "3d_small", [16, 16, 16], 2, [4, 8, 8])
    assert file.read_bytes() == written
    with pytest.raises(UserError, match="has another configuration 3d_small; choose another name"):
        add_reduced_configuration(file, "3d_small", [16, 16, 16], 4, [4, 8, 8])
    assert file.read_bytes() == written


@pytest.mark.parametrize(
    ("patch", "batch", "features", "sentence"),
    [
        ([16, 16, 16], 2, [4, 8], "features for 2 stages; expected 3 to 4"),
        ([16, 16, 16], 2, [4] * 5, "features for 5 stages; expected 3 to 4"),
        ([16, 18, 16], 2, [4] * 3, "patch size is 16 18 16; expected 3 multiples of 4 4 4"),
        ([16, 16], 2, [4] * 3, "patch size is 16 16; expected 3 multiples"),
        ([16, 16, 16], 0, [4] * 3, "batch size is 0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(tmp_path, patch, batch, features, sentence):
    file = write_plans(tmp_path)
    written = file.read_bytes()
    with pytest.raises(UserError, match=sentence):
        add_reduced_configuration(file, "3d_small", patch, batch, features)
    assert file.read_bytes() == written


def test_plans_without_3d_fullres_or_that_are_no_json(tmp_path):
    file = tmp_path / "nnUNetPlans.json"
    file.write_text('{"configurations": {"2d": {}}}')
    with pytest.raises(UserError, match="has no configuration 3d_fullres"):
        add_reduced_configuration(file, "3d_small", [16, 16, 16], 2, [4, 8, 8])
    file.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        add_reduced_configuration(file, "3d_small", [16, 16, 16], 2, [4, 8, 8])


def test_command(tmp_path, monkeypatch, capsys):
    folder = set_folders(tmp_path, monkeypatch).preprocessed / "Dataset001_Test"
    folder.mkdir()
    sizes = "-patch_size 16 24 32 -batch_size 3 -features_per_stage 4 8 8"
    line = ["add_configuration", "-d", "1", "-c", "3d_small", *sizes.split()]
    assert cli.main(line) == 1
    assert f"{folder / 'nnUNetPlans.json'} does not exist" in capsys.readouterr().err
    file = write_plans(folder)
    assert cli.main(line) == 0
    assert f"{file} has the configuration 3d_small" in capsys.readouterr().out
    configuration = json.loads(file.read_text())["configurations"]["3d_small"]
    assert (configuration["patch_size"], configuration["batch_size"]) == ([16, 24, 32], 3)
    assert cli.main([*line, "-p", "nnUNetResEncUNetMPlans"]) == 1
    assert "nnUNetResEncUNetMPlans.json does not exist" in capsys.readouterr().err
