"""The layers and networks that plans may name.

nnU-Net imports whatever the dotted names in ``plans.json`` say, and calls it: ``os.system`` too. So each name is
looked up here before nnU-Net sees it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError

_NN = "torch.nn"
_BY_MODULE = {
    "conv": [f"Conv{d}d" for d in (1, 2, 3)],
    "instancenorm": [f"InstanceNorm{d}d" for d in (1, 2, 3)],
    "batchnorm": [*(f"BatchNorm{d}d" for d in (1, 2, 3)), "SyncBatchNorm"],
    "normalization": ["GroupNorm", "LayerNorm"],
    "dropout": ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"],
    "activation": ["LeakyReLU", "ReLU", "ReLU6", "GELU", "SiLU", "ELU", "CELU", "SELU", "PReLU", "Mish", "Softplus"],
}
LAYERS = frozenset(
    name
    for module, layers in _BY_MODULE.items()
    for layer in layers
    for name in (f"{_NN}.{layer}", f"{_NN}.modules.{module}.{layer}")
)

DUALAGG_UNET = "nnunetv2_dualagg.architectures.dualagg_unet.DualAggUNet"
"""The address that stands in plans and models. A test compares it with the class, which is not imported here: whoever
checks a name does not need torch."""
_PLAIN = "dynamic_network_architectures.architectures"
NETWORKS = frozenset(
    {
        DUALAGG_UNET,
        "nnunetv2_dualagg.architectures.DualAggUNet",
        *(f"{_PLAIN}.unet.{n}" for n in ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")),
        *(f"{_PLAIN}.primus.Primus{size}" for size in ("", "S", "B", "M", "L")),
    }
)


def check_architecture(architecture: Mapping[str, Any], where: str) -> None:
    """Refuse an architecture that names something other than a known network and known layers.

    Args:
        architecture: ``architecture`` of a configuration in nnU-Net's plans.
        where: file and configuration, for the sentence.

    Raises:
        UserError: it names something else, so that building the network would run foreign code.
    """
    network = architecture.get("network_class_name")
    if network not in NETWORKS:
        raise UserError(f"{where}: the network is {network!r}; expected one of {', '.join(sorted(NETWORKS))}")
    check_layers(architecture.get("arch_kwargs") or {}, architecture.get("_kw_requires_import") or (), where)


def check_layers(kwargs: Mapping[str, Any], imported: Iterable[str], where: str) -> None:
    """Refuse what is not a layer among the arguments of a network that nnU-Net imports.

    Args:
        kwargs: ``arch_kwargs`` of an architecture.
        imported: its ``_kw_requires_import``, the keys of dotted names.
        where: for the sentence.

    Raises:
        UserError: a name is not that of a layer.
    """
    for key in imported:
        layer = kwargs.get(key)
        if layer is not None and layer not in LAYERS:
            raise UserError(f"{where}: {key} is {layer!r}; expected a layer of torch.nn, such as torch.nn.LeakyReLU")
