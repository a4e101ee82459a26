"""The foreground channel and the known background, in our network and around nnU-Net's."""

import pytest
import torch
from architecture_networks import arch_kwargs, build, randomise
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunetv2_dualagg.architectures.foreground import ForegroundUNet, KnownBackground, foreground_channel

ON = {"foreground_channel": True}


def brain(dim=3, size=16, channels=2, batch=1):
    """Noise in the upper half of the first axis, 0 below it."""
    torch.manual_seed(0)
    x = torch.randn(batch, channels, *[size] * dim)
    x += 0.01 * x.sign()  # no voxel that is 0 by chance
    x[:, :, size // 2 :] = 0
    return x


def with_rule(network, **rule):
    for module in network.modules():
        if isinstance(module, KnownBackground):
            module.set_rule(**{"outside": True, "inside": True, **rule})
    return network


def plain(dim=3, modalities=2, classes=4, **kwargs):
    network = PlainConvUNet(modalities + 1, num_classes=classes, **arch_kwargs(dim=dim, **kwargs))
    randomise(network)
    return ForegroundUNet(network, modalities)


def dualagg(dim=3, modalities=2, classes=4, **kwargs):
    return build(modalities, classes, options=ON | kwargs.pop("options", {}), dim=dim, **kwargs)


def test_the_channel_is_1_where_any_image_channel_is_not_0():
    x = torch.zeros(1, 3, 2, 2)
    x[0, 0, 0, 0] = -0.5
    x[0, 1, 0, 1] = 1e-4  # a wave of resampling
    x[0, 2, 1, 1] = 1  # a label of the cascade's previous stage
    assert foreground_channel(x, image_channels=2).tolist() == [[[[1, 0], [0, 0]]]]
    assert foreground_channel(x.half(), image_channels=3).tolist() == [[[[1, 0], [0, 1]]]]


@pytest.mark.parametrize("make", [dualagg, plain])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("modalities", [1, 2, 4])
def test_the_network_sees_the_channel(make, dim, modalities):
    """The same weights on the channel written out by hand."""
    network = make(dim, modalities).eval()
    x = brain(dim, channels=modalities)
    by_hand = torch.cat([x, (x != 0).any(dim=1, keepdim=True).float()], dim=1)
    inner = network.network if make is plain else torch.nn.Sequential(network.encoder, network.decoder)
    torch.testing.assert_close(network(x), inner(by_hand))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("outside", "inside"), [(True, True), (True, False), (False, True), (False, False)])
def test_each_half_of_the_rule(dim, outside, inside):
    x = brain(dim)
    logits = 10 * torch.randn(1, 4, *x.shape[2:])
    rule = with_rule(KnownBackground(2).eval(), outside=outside, inside=inside)
    half = x.shape[2] // 2
    expected = logits.argmax(dim=1)
    if outside:
        expected[:, half:] = 0
    if inside:
        expected[:, :half] = logits[:, 1:, :half].argmax(dim=1) + 1
    assert torch.equal(rule(logits, x).argmax(dim=1), expected)


def test_the_rule_leaves_training_alone():
    network = dualagg()
    x = brain()
    free = network(x)
    assert torch.equal(with_rule(network)(x), free)


def test_windows_without_any_brain_are_background():
    network = with_rule(dualagg().eval())
    assert (network(torch.zeros(2, 2, 16, 16, 16)).argmax(dim=1) == 0).all()


def test_regions_have_no_background_channel():
    network = with_rule(dualagg(classes=3).eval(), regions=True)
    logits = network(brain())
    assert (logits[:, :, 8:] < 0).all()
    assert (logits[:, :, :8] > 0).any()


def test_one_region():
    logits = with_rule(dualagg(classes=1).eval(), regions=True)(brain())
    assert (logits[:, :, 8:] < 0).all()


def test_sums_over_windows_keep_the_rule_in_half_precision():
    """nnU-Net adds the logits of up to 64 windows (step 0.25), weighted by at most 10, in half precision."""
    network = with_rule(dualagg().eval())
    logits = network(brain()).half()
    total = sum(logits * 10 for _ in range(64))
    assert total.isfinite().all()
    assert torch.equal(total.argmax(dim=1) == 0, torch.arange(16)[None, :, None, None].expand(1, 16, 16, 16) >= 8)


def test_an_image_that_was_resampled_has_no_shell_of_tissue():
    """Around it are waves, which are not 0, though they are not brain either."""
    network = dualagg().eval()
    x = brain()
    x[:, :, 8:] = 0.1 * (-0.27) ** torch.arange(1, 9)[:, None, None]
    free = network(x).argmax(dim=1)
    assert torch.equal(with_rule(network)(x).argmax(dim=1), free)
    assert foreground_channel(x, 2)[0, 0, 12:].sum() == 0


def second_stage(make, modalities):
    """A network in the second stage of a cascade, whose first stage labelled one voxel too far around."""
    labels = 3
    if make is dualagg:
        network = dualagg(modalities=modalities + labels, options={"image_channels": modalities})
    else:
        network = PlainConvUNet(modalities + labels + 1, num_classes=4, **arch_kwargs())
        randomise(network)
        network = ForegroundUNet(network, modalities)
    clean = torch.cat([brain(channels=modalities), torch.zeros(1, labels, 16, 16, 16)], dim=1)
    clean[:, modalities, :9] = 1
    painted = clean.clone()
    painted[:, :modalities, 8] = clean[:, :modalities].amin() - 1  # 0 after the standardisation
    return with_rule(network.eval()), clean, painted


@pytest.mark.parametrize("make", [dualagg, plain])
@pytest.mark.parametrize("modalities", [1, 2])
def test_background_that_a_first_stage_painted_is_background(make, modalities):
    network, clean, painted = second_stage(make, modalities)
    assert torch.equal(network(painted), network(clean))
    assert (network(painted).argmax(dim=1)[:, 8:] == 0).all()


def test_only_background_is_taken_for_painted():
    network, clean, painted = second_stage(plain, 1)
    assert torch.equal(network.known_background.restore(clean), clean)  # its darkest voxel is one of the brain's
    unlabelled = painted.clone()
    unlabelled[:, 1:] = 0
    assert torch.equal(network.known_background.restore(unlabelled), unlabelled)
    brighter = painted.clone()
    brighter[:, 0, 8] += 3  # images with negative intensities: 0 is not the smallest
    assert torch.equal(network.known_background.restore(brighter), brighter)
    with_rule(network, outside=False)
    assert torch.equal(network.known_background.restore(painted), painted)
    with_rule(network)
    assert torch.equal(network.train().known_background.restore(painted), painted)


@pytest.mark.parametrize("make", [dualagg, plain])
def test_deep_supervision_and_gradients(make):
    network = with_rule(make())
    network.decoder.deep_supervision = True
    outputs = network(brain(batch=2))
    assert [tuple(output.shape[2:]) for output in outputs] == [(16,) * 3, (8,) * 3]
    sum(output.square().mean() for output in outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert (network.eval()(brain())[0].argmax(dim=1)[:, 8:] == 0).all()


@pytest.mark.parametrize("make", [dualagg, plain])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(make, dtype):
    network = with_rule(make().eval())
    with torch.no_grad(), torch.autocast("cpu", dtype):
        logits = network(brain() * 10)
    assert logits.isfinite().all()
    assert (logits.argmax(dim=1) == 0).equal(torch.arange(16)[None, :, None, None].expand(1, 16, 16, 16) >= 8)


@pytest.mark.parametrize("make", [dualagg, plain])
def test_compiled_as_one_graph(make):
    network = with_rule(make().eval()).double()  # compiled and not, it uses other kernels, which round otherwise
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(brain().double()), network(brain().double()))


def test_checkpointing_gives_the_same_gradients():
    reference, recomputed = dualagg(), dualagg(options={"checkpointing": True})
    recomputed.load_state_dict(reference.state_dict())
    for network in (reference, recomputed):
        network(brain()).square().mean().backward()
    for (name, a), b in zip(reference.named_parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize("make", [dualagg, plain])
def test_the_rule_is_saved_with_the_weights(make):
    trained, loaded = with_rule(make(), inside=False), make()
    loaded.load_state_dict(trained.state_dict())
    (rule,) = (value for key, value in loaded.state_dict().items() if key.endswith("known_background.rule"))
    assert rule.tolist() == [1, 0, 0]


def test_memory_estimate_counts_the_same_maps():
    assert dualagg().compute_conv_feature_map_size((16,) * 3) == build().compute_conv_feature_map_size((16,) * 3)
