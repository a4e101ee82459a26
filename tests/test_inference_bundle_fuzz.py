"""Random damage to model files: a sentence or a sound model, and neither code nor memory that the file asks for."""

import copy
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from packed_model import join, split, with_content, write_complete_model

from nnunetv2_dualagg.inference.bundle import read_bundle
from nnunetv2_dualagg.inference.packing import pack_model
from nnunetv2_dualagg.utils.errors import UserError

CANARY = "canary_of_the_fuzz_test"
SLACK = 6 * 2**20  # bytes: what Python and PyTorch take for a moment, whatever the file
NASTY = (
    None,
    True,
    0,
    -1,
    2,
    10**30,
    1e308,
    0.5,
    "",
    "x" * 10_000,
    "\x00",
    "../../x",
    [],
    {},
    [[]] * 50,
    {"a": {}},
    f"{CANARY}.Network",
    f"{CANARY}",
    "os.system",
    "torch.nn.Linear",
    "nnUNetTrainer",
    "all",
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    write_complete_model(folder / "model", features=(4, 8, 8))
    return pack_model(folder / "model", folder / "model.safetensors", [0]).read_bytes()


def mutate(data, rng):
    kinds = (bytes_of_header, bytes_anywhere, cut, described_otherwise, described_otherwise, entries_otherwise)
    return rng.choice(kinds)(data, rng)


def bytes_of_header(data, rng):
    return _flip(data, rng, 8 + int.from_bytes(data[:8], "little"))


def bytes_anywhere(data, rng):
    return _flip(data, rng, len(data))


def _flip(data, rng, end):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 20))):
        data[rng.randrange(end)] = rng.randrange(256)
    return bytes(data)


def cut(data, rng):
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return rng.choice((data[:a], data[:a] + data[b:], data[:b] + data[a:], data + data[a:b]))


def described_otherwise(data, rng):
    def change(content):
        for _ in range(rng.choice((1, 1, 3))):
            parent, key = _place(content, rng)
            action = rng.randrange(6)
            if action == 0:
                del parent[key]
            elif action == 1 and isinstance(parent, dict):
                parent[rng.choice(("x", CANARY, "__class__"))] = rng.choice(NASTY)
            else:
                parent[key] = copy.deepcopy(rng.choice(NASTY))
        return content

    return with_content(data, change)


def _place(content, rng):
    while True:
        key = rng.choice(list(content)) if isinstance(content, dict) else rng.randrange(len(content))
        child = content[key]
        if not isinstance(child, dict | list) or not child or rng.random() < 0.15:
            return content, key
        content = child


def entries_otherwise(data, rng):
    header, body = split(data)
    name = rng.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    action = rng.randrange(5)
    if action == 0:
        entry["shape"] = rng.choice(([2**62], [2**31, 2**31, 4], [], [0], entry["shape"][::-1], [-1]))
    elif action == 1:
        entry["dtype"] = rng.choice(("F64", "F16", "I8", "U8", "BOOL", "X", CANARY))
    elif action == 2:
        entry["data_offsets"] = [rng.randrange(2 * len(body)), rng.randrange(2 * len(body))]
    elif action == 3:
        header[rng.choice((CANARY, "fold_1/x"))] = header.pop(name)
    else:
        header[name] = rng.choice(NASTY)
    return join(header, body)


def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def check(file, data, canary):
    file.write_bytes(data)
    measurable = Path("/proc/self/clear_refs").exists()
    if measurable:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
    sentence = None
    try:
        bundle = read_bundle(file)
    except UserError as error:
        sentence = str(error)
    if measurable:
        assert memory("VmHWM") - before <= 3 * len(data) + SLACK
    if sentence is None:
        assert not any(value.is_meta for value in bundle.network.state_dict().values())
    else:
        assert str(file) in sentence
        assert "\n" not in sentence
        assert len(sentence) < 1000
    assert not canary.exists(), "the file has imported a module"
    assert CANARY not in sys.modules


def run(packed, tmp_path, monkeypatch, mutations, seed):
    canary = tmp_path / "imported"
    (tmp_path / f"{CANARY}.py").write_text(f"open({str(canary)!r}, 'w')\nclass Network: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "mutated.safetensors"
    check(file, packed, canary)
    rng = random.Random(seed)
    for number in range(mutations):
        data = mutate(packed, rng)
        try:
            check(file, data, canary)
        except Exception as error:
            raise AssertionError(f"mutation {number} of seed {seed}: {type(error).__name__}: {error}") from error


def test_hundred_mutations(packed, tmp_path, monkeypatch):
    run(packed, tmp_path, monkeypatch, 100, seed=1)


@pytest.mark.slow
def test_three_thousand_mutations(packed, tmp_path, monkeypatch):
    run(packed, tmp_path, monkeypatch, 3000, seed=2)


def test_a_header_of_brackets_takes_no_memory(packed, tmp_path):
    header, body = split(packed)
    for text in ("[" * 60_000 + "]" * 60_000, json.dumps([[]] * 30_000), json.dumps([[]] * 300_000)):
        header["__metadata__"]["model"] = text
        check(tmp_path / "nested.safetensors", join(header, body), tmp_path / "none")
