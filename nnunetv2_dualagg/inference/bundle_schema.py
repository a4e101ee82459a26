"""What a model file may say: names from fixed lists, numbers within bounds, and nothing else.

A model file comes from a stranger. Everything in it that nnU-Net would look up by name is compared with a list here,
so that no name in a file decides what is imported.
"""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

CONVOLUTIONS = ["torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.Conv3d"]
NORMS = [
    None,
    *(f"torch.nn.modules.instancenorm.InstanceNorm{d}d" for d in (2, 3)),
    *(f"torch.nn.modules.batchnorm.BatchNorm{d}d" for d in (2, 3)),
]
DROPOUTS = [None, *(f"torch.nn.modules.dropout.Dropout{d}" for d in ("", "2d", "3d"))]
ACTIVATIONS = [None, *(f"torch.nn.{name}" for name in ("LeakyReLU", "ReLU", "ReLU6", "GELU", "SiLU", "ELU"))]
NETWORKS = [
    DUALAGG_UNET,
    "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
]
READERS = ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"]
RESAMPLERS = ["resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"]
NORMALIZATIONS = ["ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "CTNormalization"]

ORIENTATION = r"^[LR][AP][SI]\Z"
"""Axis codes of the images that a model was trained on."""

MAX_STAGES, MAX_FEATURES, MAX_CONVS, MAX_KERNEL, MAX_PATCH = 10, 4096, 32, 15, 1024


def _integer(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def _list(items: dict[str, Any], least: int = 0, most: int = MAX_STAGES) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _or_list(items: dict[str, Any]) -> dict[str, Any]:
    """One value for all stages, or one per stage."""
    return {"anyOf": [items, _list(items, 1)]}


def _text(most: int = 200) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


_WORD = {"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z"}
_BOOLEAN = {"type": "boolean"}
_KERNEL = {"anyOf": [_integer(1, MAX_KERNEL), _list(_integer(1, MAX_KERNEL), 2, 3)]}
_SCALARS = {"eps": _number(0, 1), "momentum": _number(0, 1), "p": _number(0, 1), "negative_slope": _number(-10, 10)}
_SWITCHES = dict.fromkeys(("affine", "track_running_stats", "inplace"), _BOOLEAN)
_LAYER_KWARGS = {"anyOf": [{"type": "null"}, _object({}, {**_SCALARS, **_SWITCHES})]}
_SPACING = _list(_number(0.01, 100), 2, 3)
_RESAMPLING_KWARGS = _object(
    {},
    {
        "is_seg": _BOOLEAN,
        "order": _integer(0, 5),
        "order_z": _integer(0, 5),
        "force_separate_z": {"enum": [None, True, False]},
        "separate_z_anisotropy_threshold": _number(1, 1000),
    },
)

_ARCH_KWARGS = _object(
    {
        "n_stages": _integer(2, MAX_STAGES),
        "features_per_stage": _or_list(_integer(1, MAX_FEATURES)),
        "conv_op": {"enum": CONVOLUTIONS},
        "kernel_sizes": _or_list(_KERNEL),
        "strides": _or_list(_KERNEL),
        "n_conv_per_stage_decoder": _or_list(_integer(1, MAX_CONVS)),
    },
    {
        "n_conv_per_stage": _or_list(_integer(1, MAX_CONVS)),
        "n_blocks_per_stage": _or_list(_integer(1, MAX_CONVS)),
        "conv_bias": _BOOLEAN,
        "norm_op": {"enum": NORMS},
        "norm_op_kwargs": _LAYER_KWARGS,
        "dropout_op": {"enum": DROPOUTS},
        "dropout_op_kwargs": _LAYER_KWARGS,
        "nonlin": {"enum": ACTIVATIONS},
        "nonlin_kwargs": _LAYER_KWARGS,
        "nonlin_first": _BOOLEAN,
        "deep_supervision": _BOOLEAN,
        "dcp": _BOOLEAN,
        "attention": _BOOLEAN,
        "attention_stages": {"anyOf": [{"type": "null"}, _list(_integer(0, MAX_STAGES))]},
        "max_key_tokens": _integer(1, 2**24),
        "concat_skips": _BOOLEAN,
        "residual": _BOOLEAN,
        "undilated_share": {"anyOf": [{"type": "null"}, _number(0, 16)]},
        "foreground_channel": _BOOLEAN,
        "image_channels": {"anyOf": [{"type": "null"}, _integer(1, 16)]},
        "checkpointing": _BOOLEAN,
    },
)

_CONFIGURATION = _object(
    {
        "data_identifier": _WORD,
        "preprocessor_name": {"const": "DefaultPreprocessor"},
        "batch_size": _integer(1, 4096),
        "patch_size": _list(_integer(1, MAX_PATCH), 2, 3),
        "spacing": _SPACING,
        "normalization_schemes": _list({"enum": NORMALIZATIONS}, 1, 16),
        "use_mask_for_norm": _list(_BOOLEAN, 1, 16),
        "architecture": _object(
            {
                "network_class_name": {"enum": NETWORKS},
                "arch_kwargs": _ARCH_KWARGS,
                "_kw_requires_import": _list({"enum": ["conv_op", "norm_op", "dropout_op", "nonlin"]}, 0, 4),
            }
        ),
        **{f"resampling_fn_{what}": {"enum": RESAMPLERS} for what in ("data", "seg", "probabilities")},
        **{f"resampling_fn_{what}_kwargs": _RESAMPLING_KWARGS for what in ("data", "seg", "probabilities")},
        "batch_dice": _BOOLEAN,
    },
    {"median_image_size_in_voxels": _list(_number(0, 1e5), 2, 3)},
)

_AXES = _list(_integer(0, 2), 3, 3)
_INTENSITIES = {
    "type": "object",
    "propertyNames": {"pattern": r"^[0-9]{1,2}\Z"},
    "maxProperties": 16,
    "additionalProperties": {
        "type": "object",
        "propertyNames": {
            "enum": ["max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"],
        },
        "additionalProperties": _number(-1e12, 1e12),
    },
}

_PLANS = _object(
    {
        "dataset_name": _WORD,
        "plans_name": _WORD,
        "image_reader_writer": {"enum": READERS},
        "label_manager": {"const": "LabelManager"},
        "transpose_forward": _AXES,
        "transpose_backward": _AXES,
        "foreground_intensity_properties_per_channel": _INTENSITIES,
        "configurations": {
            "type": "object",
            "propertyNames": _WORD,
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": _CONFIGURATION,
        },
    },
    {
        "experiment_planner_used": _WORD,
        "original_median_spacing_after_transp": _SPACING,
        "original_median_shape_after_transp": _list(_number(0, 1e5), 2, 3),
    },
)

_DATASET = _object(
    {
        "channel_names": {
            "type": "object",
            "propertyNames": {"pattern": r"^[0-9]{1,2}\Z"},
            "minProperties": 1,
            "maxProperties": 16,
            "additionalProperties": _text(100),
        },
        "labels": {
            "type": "object",
            "propertyNames": _text(100),
            "properties": {"background": {"const": 0}},
            "required": ["background"],
            "minProperties": 2,
            "maxProperties": 64,
            "additionalProperties": _integer(1, 254),
        },
        "file_ending": {"enum": [".nii.gz", ".nii"]},
    },
    {"numTraining": _integer(0, 10**7), "name": _text(), "description": _text(2000), "orientation": _text(3)},
)

CONTENT = _object(
    {
        "trainer": _WORD,
        "configuration": _WORD,
        "folds": _list({"anyOf": [_integer(0, 999), {"const": "all"}]}, 1, 100),
        "mirroring_axes": {"anyOf": [{"type": "null"}, _list(_integer(0, 2), 0, 3)]},
        "orientation": {"type": "string", "pattern": ORIENTATION},
        "plans": _PLANS,
        "dataset": _DATASET,
        "versions": {"type": "object", "maxProperties": 10, "additionalProperties": _text(100)},
        "training": {"type": "object", "maxProperties": 20, "additionalProperties": _text(1000)},
        "description": _text(4000),
        "licence": _text(4000),
        "sha256": {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"},
    }
)

_VALIDATOR = Draft202012Validator(CONTENT)


def check_content(content: Any, where: str) -> None:
    """Compare what a model file says with what it may say.

    Args:
        content: read from JSON.
        where: the file, for the error.

    Raises:
        UserError: the first thing that is missing, unknown or out of bounds.
    """
    error = best_match(_VALIDATOR.iter_errors(content))
    if error is not None:
        raise UserError(
            f"{where} is not a model that this version can use: {one_line(f'{error.json_path}: {error.message}')}"
        )


def one_line(message: object, most: int = 300) -> str:
    """A message, or an exception's, fit for a sentence on one line; it may repeat what a stranger's file says."""
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
