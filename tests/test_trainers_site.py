import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from scipy import ndimage

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.simulation.contrast import simulate_images
from nnunetv2_dualagg.trainers.augmentation.histogram import HistogramRemapTransform, LogUniform
from nnunetv2_dualagg.trainers.augmentation.lost_modality import LostModalityTransform
from nnunetv2_dualagg.trainers.site import site_intensity_transforms

SITE_TRAINERS = (
    trainers.nnUNetTrainerSite,
    trainers.nnUNetTrainerForegroundSite,
    trainers.nnUNetTrainerDualAggSite,
)
ROTATION = (-0.5, 0.5)


def load_script(name):
    file = Path(__file__).parents[1] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site_shift = load_script("site_shift")


def seed(number):
    np.random.seed(number)
    torch.manual_seed(number)


def make_pipeline(trainer, patch=(24, 24, 24), scales=None, mirror=(0, 1, 2), dummy_2d=False, **options):
    return trainer.get_training_transforms(patch, ROTATION, scales, mirror, dummy_2d, **options)


def make_sample(shape=(32, 32, 32), channels=2, labels=4):
    """Random intensities; a border of 4 voxels lies outside the mask: -1, and 0 in the image."""
    segmentation = torch.full((1, *shape), -1, dtype=torch.int16)
    middle = (0, *(slice(4, n - 4) for n in shape))
    segmentation[middle] = torch.randint(0, labels, segmentation[middle].shape, dtype=torch.int16)
    return {"image": torch.randn(channels, *shape) * (segmentation >= 0), "segmentation": segmentation}


def name_of(transform):
    return type(getattr(transform, "transform", transform)).__name__


def remap(image, num_knots=4, slope=3, **options):
    return HistogramRemapTransform(LogUniform(slope), num_knots, **options)(image=image.clone())["image"]


@pytest.mark.parametrize("shape", [(2, 20, 24), (3, 12, 16, 10)])
def test_remapping_keeps_order_mean_and_deviation(shape):
    seed(0)
    image = torch.randn(shape) * 2 + 7
    remapped = remap(image)
    for before, after in zip(image.flatten(1), remapped.flatten(1), strict=True):
        order = before.argsort()
        assert (after[order].diff() >= 0).all()
        assert not torch.allclose(before, after, atol=0.05)
        torch.testing.assert_close(torch.std_mean(after), torch.std_mean(before), rtol=1e-4, atol=1e-4)


def test_remapping_is_piecewise_linear_with_a_bend_at_each_knot():
    image = torch.linspace(-3, 3, 6001)[None, None]
    knots, slopes = [-1.0, 0.0, 1.5], [2.0, 0.5, 1.0, 3.0]
    deviation = float(image.std(correction=0))
    transform = HistogramRemapTransform(1.0, num_knots=3)
    parameters = {"channels": [0], "knots": [[knot / deviation for knot in knots]], "slopes": [slopes]}
    remapped = transform._apply_to_image(image.clone(), **parameters)[0, 0].double().numpy()
    expected = np.interp(image[0, 0].numpy(), [-3, -1, 0, 1.5, 3], np.cumsum([0, 4, 0.5, 1.5, 4.5]))
    expected = (expected - expected.mean()) / expected.std() * deviation  # the image's mean is 0
    np.testing.assert_allclose(remapped, expected, atol=1e-3)


def test_remapping_treats_channels_by_themselves():
    seed(1)
    image = torch.randn(1, 16, 16).repeat(3, 1, 1)
    first, second, third = remap(image)
    assert not torch.allclose(first, second, atol=0.05)
    assert not torch.allclose(second, third, atol=0.05)
    changed = [int((remap(image, p_per_channel=0.3) != image).any((1, 2)).sum()) for _ in range(200)]
    assert 0.2 < np.mean(changed) / 3 < 0.4


def test_remapping_leaves_constant_and_broken_channels_alone():
    image = torch.stack([torch.full((4, 4), 5.0), torch.full((4, 4), torch.nan)])
    torch.testing.assert_close(remap(image), image, equal_nan=True)


def lose(image, probability=1):
    scanner = GaussianNoiseTransform(noise_variance=(1, 1))
    return LostModalityTransform(scanner, probability)(image=image.clone())["image"]


def brain_in_the_middle(channels):
    image = torch.zeros(channels, 20, 20, 20)
    image[:, 4:16, 4:16, 4:16] = torch.randn(channels, 12, 12, 12) * 2 + 7
    return image


def test_a_lost_modality_shows_noise_of_its_mean_and_deviation_and_the_others_stay():
    seed(0)
    image = brain_in_the_middle(3)
    inside = image[0] != 0
    lost = set()
    for _ in range(20):
        result = lose(image)
        (channel,) = [c for c in range(3) if not torch.equal(result[c], image[c])]
        lost.add(channel)
        assert torch.equal(result[channel] != 0, inside)
        old, new = image[channel, inside], result[channel, inside]
        torch.testing.assert_close(torch.std_mean(new), torch.std_mean(old), rtol=1e-3, atol=1e-3)
        assert abs(np.corrcoef(old, new)[0, 1]) < 0.1
    assert lost == {0, 1, 2}


def test_modalities_are_lost_as_often_as_asked():
    seed(0)
    image = brain_in_the_middle(2)
    assert 0.1 < np.mean([not torch.equal(lose(image, 0.2), image) for _ in range(300)]) < 0.3


def test_a_fifth_of_the_patches_for_other_sites_lose_a_modality():
    seed(0)
    image = brain_in_the_middle(2)
    first = site_intensity_transforms()[0]
    lost = [not torch.equal(first(image=image.clone())["image"], image) for _ in range(300)]
    assert 0.13 < np.mean(lost) < 0.27


@pytest.mark.parametrize("image", [brain_in_the_middle(1), torch.zeros(2, 8, 8), torch.full((2, 8, 8), 3.0)])
def test_nothing_is_lost_of_one_modality_or_where_there_is_nothing(image):
    assert torch.equal(lose(image), image)


def test_log_uniform_slopes():
    seed(0)
    values = np.log([LogUniform(3)() for _ in range(2000)]) / np.log(3)
    assert -1 <= values.min() < -0.99
    assert 0.99 < values.max() <= 1
    assert abs(values.mean()) < 0.05


def test_workers_draw_other_remappings_although_they_share_torchs_seed():
    image = torch.randn(1, 16, 16)
    results = []
    for worker in range(2):
        torch.manual_seed(0)
        np.random.seed(worker)
        results.append(remap(image))
    assert not torch.allclose(*results, atol=0.05)


@pytest.mark.parametrize("trainer", SITE_TRAINERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mirror": None},
        {"scales": [[1.0] * 3, [0.5] * 3]},
        {"dummy_2d": True, "use_mask_for_norm": [True, False]},
        {"is_cascaded": True, "foreground_labels": [1, 2, 3]},
        {"regions": [(1, 2, 3), (2, 3), 3], "ignore_label": 4},
    ],
)
def test_everything_but_the_intensities_is_nnunets(trainer, options):
    ours = make_pipeline(trainer, **options).transforms
    default = make_pipeline(nnUNetTrainer, **options).transforms
    intensity = [name_of(transform) for transform in site_intensity_transforms()]
    names = [name_of(transform) for transform in ours]
    start = names.index(intensity[0])
    assert names[start : start + len(intensity)] == intensity
    replaced = [
        "GaussianNoiseTransform",
        "GaussianBlurTransform",
        "MultiplicativeBrightnessTransform",
        "ContrastTransform",
        "GammaTransform",
    ]
    kept = [transform for transform in default if name_of(transform) not in replaced]
    assert len(kept) == len(default) - 6  # gamma comes twice
    rest = ours[:start] + ours[start + len(intensity) :]
    assert [repr(transform) for transform in rest] == [repr(transform) for transform in kept]


def test_the_trainers_differ_in_the_network_alone():
    transforms = [[name_of(t) for t in make_pipeline(trainer).transforms] for trainer in SITE_TRAINERS]
    assert transforms[0] == transforms[1] == transforms[2]
    networks = (nnUNetTrainer, trainers.nnUNetTrainerForeground, trainers.nnUNetTrainerDualAgg)
    for trainer, twin in zip(SITE_TRAINERS, networks, strict=True):
        built, expected = (t.build_network_architecture for t in (trainer, twin))
        assert getattr(built, "__func__", built) == getattr(expected, "__func__", expected)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 32), (8, 32, 32)])
@pytest.mark.parametrize("channels", [1, 4])
def test_labels_are_those_of_nnunet_with_the_same_seed(shape, channels):
    patch = tuple(n - 8 if n > 8 else n for n in shape)
    # Without mirroring, whose random numbers come after those of the intensities.
    options = {"patch": patch, "mirror": None, "dummy_2d": shape[0] == 8}
    ours, default = (make_pipeline(trainer, **options) for trainer in (trainers.nnUNetTrainerSite, nnUNetTrainer))
    for number in range(20):
        seed(number)
        sample = make_sample(shape, channels)
        results = []
        for pipeline in (ours, default):
            seed(number)
            results.append(pipeline(**{name: value.clone() for name, value in sample.items()}))
        torch.testing.assert_close(results[0]["segmentation"], results[1]["segmentation"])
        assert results[0]["image"].shape == (channels, *patch)
        assert results[0]["image"].isfinite().all()
        assert results[0]["image"].dtype == torch.float32


def test_outside_of_the_mask_stays_zero_where_nnunet_masks():
    pipeline = make_pipeline(trainers.nnUNetTrainerSite, patch=(32, 32, 32), use_mask_for_norm=[True, False])
    others = 0
    for number in range(30):
        seed(number)
        sample = make_sample()
        sample["segmentation"] = torch.where(sample["segmentation"] < 0, -1, 1)  # so that 0 is the outside, below
        result = pipeline(**sample)
        outside = result["segmentation"][0] == 0
        assert outside.any()
        assert not result["image"][0, outside].any()
        others += bool(result["image"][1, outside].any())
    assert others


def test_previous_stage_of_a_cascade_is_not_an_intensity():
    pipeline = make_pipeline(
        trainers.nnUNetTrainerDualAggSite, patch=(32, 32, 32), is_cascaded=True, foreground_labels=[1, 2, 3]
    )
    for number in range(20):
        seed(number)
        sample = make_sample()
        sample["segmentation"] = torch.cat([sample["segmentation"], sample["segmentation"].clamp(min=0)])
        result = pipeline(**sample)
        assert result["image"].shape[0] == 2 + 3
        assert result["segmentation"].shape[0] == 1
        assert set(result["image"][2:].unique().tolist()) <= {0.0, 1.0}


def test_regions_and_deep_supervision():
    pipeline = make_pipeline(
        trainers.nnUNetTrainerSite, scales=[[1.0] * 3, [0.5] * 3], regions=[(1, 2, 3), (2, 3), (3,)], ignore_label=4
    )
    seed(0)
    targets = pipeline(**make_sample(labels=5))["segmentation"]
    assert [tuple(target.shape) for target in targets] == [(4, 24, 24, 24), (4, 12, 12, 12)]


def test_images_of_another_modality_such_as_ct():
    """CT is clipped to percentiles, which leaves large constant regions, and no mask."""
    pipeline = make_pipeline(trainers.nnUNetTrainerSite, use_mask_for_norm=[False])
    for number in range(30):
        seed(number)
        sample = make_sample(channels=1)
        sample["image"].mul_(3).clamp_(-2, 2)
        assert pipeline(**sample)["image"].isfinite().all()
    empty = {"image": torch.zeros(1, 32, 32, 32), "segmentation": torch.zeros(1, 32, 32, 32, dtype=torch.int16)}
    assert pipeline(**empty)["image"].isfinite().all()


def test_the_list_goes_to_spawned_workers():
    pipeline = make_pipeline(trainers.nnUNetTrainerDualAggSite)
    results = []
    for copy in (pipeline, pickle.loads(pickle.dumps(pipeline))):
        seed(3)
        results.append(copy(**make_sample())["image"])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("transform", site_intensity_transforms(), ids=name_of)
def test_each_transform_draws_for_each_modality(transform):
    seed(0)
    image = ndimage.gaussian_filter(np.random.standard_normal((24, 24, 24)), 1).astype(np.float32)
    image = torch.from_numpy(image / image.std()).repeat(3, 1, 1, 1)
    chosen = np.array([(transform(image=image.clone())["image"] != image).any((1, 2, 3)).numpy() for _ in range(150)])
    assert chosen.any(0).all()
    assert not chosen.all(1).all()
    assert (chosen.sum(1) == 1).any()  # one modality alone


@pytest.fixture(scope="module")
def scans():
    """One small random brain at every site: convoluted, with about as much of each tissue as the phantom's brains."""
    rng = np.random.default_rng(0)
    axis = np.arange(64) - 31.5
    radius = np.sqrt(sum(x**2 for x in np.meshgrid(axis, axis, axis, indexing="ij")))
    depth = ndimage.gaussian_filter(rng.standard_normal(radius.shape), 5)
    depth = depth / depth.std() + np.clip((27 - radius) / 3, None, 1.5)
    tissues = np.stack([depth < -0.2, (depth >= -0.2) & (depth < 0.7), depth >= 0.7]).astype(np.float32)
    fractions = np.stack([ndimage.gaussian_filter(tissue, 0.6) for tissue in tissues])
    brain = radius < 30
    label = np.where(brain, fractions.argmax(0) + 1, 0)
    made = {}
    for site in site_shift.SITES:
        images = simulate_images(fractions, brain, site, np.random.default_rng(1), (1.0, 1.0, 1.0))
        made[site.name] = site_shift.standardised(dict(zip(("T1", "T2"), images, strict=True)) | {"label": label})
    return made


def not_reached(trainer, scans):
    """(site, modality, statistic) beyond the 1st to the 99th percentile of augmented patches of the training site."""
    augmented = site_shift.augmented_statistics(trainer, [scans["MAP"]], (48, 48, 48), count=200, seed=0)
    inner = (slice(8, -8),) * 3
    beyond = set()
    for site in ("BCP", "Stanford", "Emory"):
        images, label = scans[site]
        for channel, modality in enumerate(("T1", "T2")):
            for name, value in site_shift.statistics(images[channel][inner], label[inner]).items():
                low, high = site_shift.percentiles([measured[channel] for measured in augmented], name)
                if not low <= value <= high:
                    beyond.add((site, modality, name))
    return beyond


def test_augmented_training_patches_cover_the_other_sites(scans):
    # No intensity transform makes up contrast relative to noise that the training site does not have.
    easier = {("BCP", "T2", "contrast to deviation")}
    assert not_reached(trainers.nnUNetTrainerSite, scans) <= easier


def test_nnunets_augmentation_does_not_cover_them(scans):
    beyond = not_reached(nnUNetTrainer, scans)
    assert {name for _, _, name in beyond} >= {"noise", "WM - GM"}


def made(name):
    """A trainer that has all its transforms need: the names of the channels."""
    trainer = object.__new__(getattr(trainers, name))
    trainer.dataset_json = {"channel_names": {"0": "T1", "1": "T2"}}
    return trainer


@pytest.mark.parametrize("name", ["nnUNetTrainerSite", "nnUNetTrainerSynthetic"])
def test_an_nnunet_that_plans_other_transforms_is_named(name, monkeypatch):
    only_mirroring = ComposeTransforms([MirrorTransform((0, 1, 2))])
    monkeypatch.setattr(nnUNetTrainer, "get_training_transforms", lambda *args, **kwargs: only_mirroring)
    with pytest.raises(RuntimeError, match=rf"^nnU-Net [\d.]+ plans none of .* {name} replaces .*MirrorTransform"):
        made(name).get_training_transforms()
