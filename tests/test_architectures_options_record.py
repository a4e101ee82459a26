import pickle

import pytest
import torch
from architecture_networks import arch_kwargs

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.options_record import decode_record, encode_record


def network(**options):
    return DualAggUNet(input_channels=2, num_classes=4, **arch_kwargs(), **options)


def test_a_checkpoint_tells_version_and_options():
    record = decode_record(network(max_key_tokens=100).state_dict()["_extra_state"])
    assert record == {
        "version": __version__,
        "dcp": True,
        "attention_stages": [1],
        "max_key_tokens": 100,
        "concat_skips": True,
        "residual": True,
        "foreground_channel": False,
    }


@pytest.mark.parametrize(
    ("saved", "loading", "said"),
    [
        ({"max_key_tokens": 512}, {}, ("max_key_tokens = 512", "max_key_tokens = 4096")),
        ({"attention": False}, {}, ("attention_stages = []", "attention_stages = [1]")),
        ({}, {"dcp": False}, ("dcp = true", "dcp = false")),
        ({}, {"concat_skips": False}, ("concat_skips = true", "concat_skips = false")),
        ({}, {"foreground_channel": True}, ("foreground_channel = false", "foreground_channel = true")),
    ],
)
def test_weights_of_other_options_are_refused_in_one_sentence(saved, loading, said):
    with pytest.raises(RuntimeError) as error:
        network(**loading).load_state_dict(network(**saved).state_dict())
    message = str(error.value)
    assert all(words in message for words in said)
    assert "\n" not in message


def test_an_option_of_a_later_version_is_refused():
    weights = network().state_dict()
    record = decode_record(weights["_extra_state"]) | {"version": "9.0", "gate": True}
    weights["_extra_state"] = encode_record(record)
    with pytest.raises(RuntimeError, match=r"gate = true \(nnunetv2_dualagg 9.0\).* no gate"):
        network().load_state_dict(weights)


def test_another_version_with_the_same_options_is_fine():
    weights = network().state_dict()
    weights["_extra_state"] = encode_record(decode_record(weights["_extra_state"]) | {"version": "9.0"})
    network().load_state_dict(weights)


def test_all_records_have_one_shape():
    """As nnU-Net's -pretrained_weights wants it."""
    few, many = network().get_extra_state(), network(attention_stages=[0, 1], max_key_tokens=10**6).get_extra_state()
    assert few.shape == many.shape
    with pytest.raises(ValueError, match="bytes, more than 512"):
        encode_record({"name": "x" * 512})


def test_the_record_survives_saving_and_copying(tmp_path):
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    for weights in (
        torch.load(tmp_path / "weights.pth", weights_only=True),
        pickle.loads(pickle.dumps(network())).state_dict(),
    ):
        network().load_state_dict(weights)
