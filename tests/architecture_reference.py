"""The network once more, from the paper's equations, in float64 and with nothing but sums and matrix products.

Weights are taken from the modules under test; strides, dilations and the structure are stated here again. Norms are
instance norms and activations leaky ReLUs, as in nnU-Net's plans.
"""

import itertools
import math

import torch


def convolution(x, weight, bias, stride=1, dilation=1):
    """Sum over the kernel's offsets of (weight matrix at this offset) x (the map, shifted by it), zeros outside."""
    x, weight = x.double(), weight.double()
    kernel, dim = weight.shape[2:], weight.dim() - 2
    strides = (stride,) * dim if isinstance(stride, int) else tuple(stride)
    dilations = [dilation if k > 1 else 1 for k in kernel]
    reach = [(k - 1) // 2 * d for k, d in zip(kernel, dilations, strict=True)]
    padded = torch.zeros(*x.shape[:2], *(n + 2 * r for n, r in zip(x.shape[2:], reach, strict=True)), dtype=x.dtype)
    padded[(..., *(slice(r, r + n) for r, n in zip(reach, x.shape[2:], strict=True)))] = x
    out = 0
    for offset in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(o * d, o * d + n, s) for o, d, n, s in zip(offset, dilations, x.shape[2:], strides, strict=True)
        )
        out = out + torch.einsum("oc,bc...->bo...", weight[(..., *offset)], padded[(..., *window)])
    return out if bias is None else out + bias.double().view(-1, *[1] * dim)


def transposed_convolution(x, weight, bias, stride):
    """Kernel = stride: every voxel becomes a block of its own."""
    x, weight, dim = x.double(), weight.double(), weight.dim() - 2
    out = torch.zeros(len(x), weight.shape[1], *(n * s for n, s in zip(x.shape[2:], stride, strict=True))).double()
    for offset in itertools.product(*map(range, stride)):
        target = tuple(slice(o, None, s) for o, s in zip(offset, stride, strict=True))
        out[(..., *target)] = torch.einsum("co,bc...->bo...", weight[(..., *offset)], x)
    return out + bias.double().view(-1, *[1] * dim)


def preactivation(x, preact):
    """Leaky ReLU (slope 0.01) of the instance norm."""
    norm, flat = preact[0], x.double().flatten(2)
    variance, mean = torch.var_mean(flat, dim=2, correction=0, keepdim=True)
    normalised = (flat - mean) / (variance + 1e-5).sqrt()
    normalised = normalised * norm.weight.double()[:, None] + norm.bias.double()[:, None]
    return torch.where(normalised > 0, normalised, 0.01 * normalised).view(x.shape)


def conv(x, module, stride=1):
    return convolution(x, module.weight, module.bias, stride)


def residual_block(x, block):
    out = x.double()
    for preact, convolution in zip(block.convs[::2], block.convs[1::2], strict=True):
        out = conv(preactivation(out, preact), convolution)
    return x.double() + out


def pyramid(a, module):
    """The paper names the 1x1x1 branch last; the order of a concatenation only numbers its channels."""
    branches = [
        convolution(a, branch.weight, branch.bias, dilation=dilation)
        for branch, dilation in zip(module.dilated, (1, 2, 4), strict=True)
    ]
    return torch.cat([conv(a, module.pointwise), *branches], dim=1)


def downsampling_block(a, block, stride, dcp=True):
    first, preact, last = block.right
    right = pyramid(a, first) if dcp else conv(a, first)
    return conv(a, block.left, stride) + conv(preactivation(right, preact), last, stride)


def softmax(scores):
    """Over the rows of a matrix."""
    exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def average_pool(x, factors):
    """Mean of each cell of ``factors`` voxels, cell by cell; cells at the far border average what they have."""
    cells = [math.ceil(n / f) for n, f in zip(x.shape[2:], factors, strict=True)]
    out = torch.empty(*x.shape[:2], *cells, dtype=torch.float64)
    for index in itertools.product(*map(range, cells)):
        cell = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        out[(..., *index)] = x.double()[(..., *cell)].flatten(2).mean(dim=2)
    return out


def position_attention(x, module, factors=None):
    """Equations 1 to 3 with the N x N matrix (N x M with pooled keys)."""
    query = conv(x, module.query).flatten(2).transpose(1, 2)  # (B, N, C_E)
    key_value = conv(x if factors is None else average_pool(x, factors), module.key_value).flatten(2)
    key, value = (half.transpose(1, 2) for half in key_value.chunk(2, dim=1))
    weights = softmax(query @ key.transpose(1, 2) / math.sqrt(query.shape[2]))
    return conv((weights @ value).transpose(1, 2).reshape(len(x), -1, *x.shape[2:]), module.project)


def channel_attention(x):
    """Equation 4, plus the map itself."""
    flat = x.double().flatten(2)
    weights = softmax(flat @ flat.transpose(1, 2) / flat.shape[2])
    return (weights @ flat + flat).view(x.shape)


def dual_attention(x, module):
    a = preactivation(x, module.preact)
    fused = conv(torch.cat([position_attention(a, module.position), channel_attention(a)], dim=1), module.fuse)
    return x.double() + module.scale.double() * fused


def network(x, net, strides, dcp=True, concat_skips=True):
    """Logits of every decoder stage, full resolution first."""
    x, skips = conv(x, net.encoder.stem), []
    for s, stage in enumerate(net.encoder.stages):
        blocks = list(stage.blocks)
        if s > 0:
            x = downsampling_block(x, blocks.pop(0), strides[s], dcp)
        for block in blocks:
            x = residual_block(x, block)
        skips.append(x)
        x = preactivation(x, stage.preact)
        if concat_skips:
            skips[-1] = x
    outputs = []
    for i, stage in enumerate(net.decoder.stages):
        up = transposed_convolution(x, stage.upsample.weight, stage.upsample.bias, strides[-1 - i])
        skip = skips[-2 - i]
        x = conv(torch.cat([up, skip], dim=1), stage.merge) if concat_skips else up + skip
        for block in stage.blocks:
            x = residual_block(x, block)
        if stage.attention is not None:
            x = dual_attention(x, stage.attention)
        x = preactivation(x, stage.preact)
        outputs.append(conv(x, net.decoder.seg_layers[i]))
    return outputs[::-1]
