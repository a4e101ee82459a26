import inspect

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from packed_model import PLAIN_UNET, join, split, with_content, write_complete_model

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.inference.bundle import read_bundle
from nnunetv2_dualagg.inference.bundle_schema import CONTENT
from nnunetv2_dualagg.inference.model import load_model
from nnunetv2_dualagg.inference.packing import pack_model, unpack_model
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

CONFIGURATION = ("plans", "configurations", "3d_fullres")
ARCHITECTURE = (*CONFIGURATION, "architecture")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    write_complete_model(folder / "model")
    return pack_model(folder / "model", folder / "model.safetensors", [0]).read_bytes()


def assert_same_weights(state, network):
    expected = network.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)


def test_packed_and_unpacked_model_is_the_same_for_nnunet(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
    networks = write_complete_model(tmp_path / "model", folds=(0, 1), trainer="nnUNetTrainerDualAgg_20epochs")
    file = tmp_path / "a" / "infant.safetensors"
    assert main(["pack_model", "-m", str(tmp_path / "model"), "-f", "0", "1", "-o", str(file)]) == 0
    assert "2 fold(s)" in capsys.readouterr().out
    assert file.stat().st_mode == (tmp_path / "model" / "plans.json").stat().st_mode  # others may read it too
    bundle = read_bundle(file)
    assert bundle.content["trainer"] == "nnUNetTrainerDualAgg_20epochs"
    assert_same_weights(bundle.network.state_dict(), networks[0])
    for state, network in zip(bundle.weights, networks, strict=True):
        assert_same_weights(state, network)
    assert main(["unpack_model", "-i", str(file), "-o", str(tmp_path / "back")]) == 0
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(tmp_path / "back"), (0, 1))
    assert predictor.allowed_mirroring_axes == (0, 1, 2)
    for state, network in zip(predictor.list_of_parameters, networks, strict=True):
        assert_same_weights(state, network)


def test_unpacks_to_where_nnunet_looks(tmp_path, packed, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    (tmp_path / "model.safetensors").write_bytes(packed)
    assert main(["unpack_model", "-i", str(tmp_path / "model.safetensors")]) == 0
    folder = tmp_path / "results/Dataset001_Test/nnUNetTrainerDualAgg__nnUNetPlans__3d_fullres"
    assert (folder / "fold_0/checkpoint_final.pth").is_file()
    with pytest.raises(UserError, match="exists already"):
        unpack_model(tmp_path / "model.safetensors", folder)


def test_half_precision_halves_the_file_and_tensors_that_nnunet_shares_are_stored_once(tmp_path):
    model = tmp_path / "model"
    (network,) = write_complete_model(model, trainer="nnUNetTrainer", network_class=PLAIN_UNET)
    single, half = (pack_model(model, tmp_path / f"{h}.safetensors", [0], half=h) for h in (False, True))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert single.stat().st_size - half.stat().st_size == pytest.approx(2 * parameters, rel=0.05)
    assert_same_weights(read_bundle(single).network.state_dict(), network)
    for name, value in read_bundle(half).weights[0].items():
        torch.testing.assert_close(value, network.state_dict()[name].half().float(), rtol=0, atol=0)


def put(*path_and_value):
    *path, key, value = path_and_value

    def change(content):
        for part in path:
            content = content[part]
        content[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("trainer", "nnUNetTrainerElsewhere"), "nnUNetTrainerElsewhere, which this version does not know"),
        (put("trainer", "os.system"), "os.system, which"),
        (put(*ARCHITECTURE, "network_class_name", "os.system"), "network_class_name"),
        (put(*ARCHITECTURE, "arch_kwargs", "conv_op", "builtins.exec"), "conv_op"),
        (put(*ARCHITECTURE, "arch_kwargs", "nonlin", "subprocess.Popen"), "nonlin"),
        (put(*ARCHITECTURE, "arch_kwargs", "n_stages", 10**9), "n_stages"),
        (put(*ARCHITECTURE, "arch_kwargs", "features_per_stage", [4096, 4096, 4096]), "its plans give"),
        (put(*ARCHITECTURE, "arch_kwargs", "features_per_stage", [8, 8]), "is inconsistent in features_per_stage"),
        (put(*ARCHITECTURE, "arch_kwargs", "max_key_tokens", 40), "its weights do not fit its network"),
        (put(*ARCHITECTURE, "_kw_requires_import", ["dcp"]), "_kw_requires_import"),
        (put(*ARCHITECTURE, "_kw_requires_import", []), "_kw_requires_import"),
        (put(*CONFIGURATION, "preprocessor_name", "Elsewhere"), "preprocessor_name"),
        (put(*CONFIGURATION, "resampling_fn_data", "eval"), "resampling_fn_data"),
        (put(*CONFIGURATION, "patch_size", [16, 16]), "patch_size"),
        (put("plans", "image_reader_writer", "NaturalImage2DIO"), "image_reader_writer"),
        (put("plans", "transpose_forward", [0, 0, 2]), "transpose_forward"),
        (put("plans", "dataset_name", "../../elsewhere"), "dataset_name"),
        (put("dataset", "labels", {"background": 0, "brain": [1, 2]}), "labels"),
        (
            put("dataset", "labels", {"background": 0, "ignore": 1, "CSF": 2, "GM": 3, "WM": 4}),
            "is inconsistent in labels",
        ),
        (put("dataset", "channel_names", {"0": "T1"}), "is inconsistent in normalization_schemes"),
        (put("folds", [0, 1]), "lacks"),
        (put("folds", ["../x"]), "folds"),
        (put("mirroring_axes", [3]), "mirroring_axes"),
        (put("configuration", "2d"), "no plans for its configuration 2d"),
        (put("sha256", "0" * 64), "damaged"),
        (put("unknown", 1), "unknown"),
        (lambda content: [], "is not of type 'object'"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, packed, change, sentence):
    file = tmp_path / "bad.safetensors"
    file.write_bytes(with_content(packed, change))
    with pytest.raises(UserError, match=rf"bad\.safetensors.*{sentence}") as caught:
        read_bundle(file)
    assert "\n" not in str(caught.value)


def test_voxels_that_training_ignored_are_no_tissue(tmp_path, packed):
    labels = {"background": 0, "CSF": 1, "GM": 2, "WM": 3, "ignore": 4}
    file = tmp_path / "model.safetensors"
    file.write_bytes(with_content(packed, put("dataset", "labels", labels)))
    assert load_model(file).labels == {"CSF": 1, "GM": 2, "WM": 3}


def test_every_option_of_the_network_may_be_packed():
    arch_kwargs = CONTENT  # down to the schema of the architecture's arguments
    for name in ("plans", "configurations", None, "architecture", "arch_kwargs"):
        arch_kwargs = arch_kwargs["properties"][name] if name else arch_kwargs["additionalProperties"]
    options = inspect.signature(DualAggUNet).parameters.keys() - {"input_channels", "num_classes"}
    assert options <= arch_kwargs["properties"].keys()


def test_damaged_files(tmp_path, packed, capsys):
    header, body = split(packed)
    name = next(name for name in header if name.endswith("stem.weight"))

    def entry(**changes):
        return join({**header, name: {**header[name], **changes}}, body)

    first = packed.index(b"fold_0") // 2
    damaged = {
        "empty": (b"", "0 bytes"),
        "cut header": (packed[:first], "truncated"),
        "cut weights": (packed[:-100], "is not a safetensors file"),
        "long header": ((2**40).to_bytes(8, "little") + packed[8:], "truncated"),
        "large header": ((2**22).to_bytes(8, "little") + bytes(2**22), "expected at most"),
        "pickle": (b"\x80\x04cos\nsystem\n." * 99, "truncated"),
        "no JSON": (join(b"\xff" * 99, body), "is not a safetensors file"),
        "other tensors": (join({n: e for n, e in header.items() if n != "__metadata__"}, body), "its format is None"),
        "huge shape": (entry(shape=[2**62, 2]), "is not a safetensors file"),
        "wrong type": (entry(dtype="F64"), "is not a safetensors file"),
        "other bytes": (packed[:-1] + bytes([packed[-1] ^ 1]), "damaged"),
    }
    for what, (data, sentence) in damaged.items():
        file = tmp_path / f"{what}.safetensors"
        file.write_bytes(data)
        with pytest.raises(UserError, match=sentence):
            read_bundle(file)
    assert main(["unpack_model", "-i", str(file), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {file} is damaged")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_packed(tmp_path):
    model, file = tmp_path / "model", tmp_path / "out.safetensors"
    with pytest.raises(UserError, match=r"plans\.json is missing"):
        pack_model(model, file)
    write_complete_model(model, trainer="nnUNetTrainerElsewhere")
    with pytest.raises(UserError, match="nnUNetTrainerElsewhere"):
        pack_model(model, file, [0])
    with pytest.raises(UserError, match=r"fold_7.checkpoint_final\.pth is missing"):
        pack_model(model, file, [0, 7])
    assert not file.exists()
