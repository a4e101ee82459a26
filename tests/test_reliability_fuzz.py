"""Damaged files for every command that reads files: done, or refused in one sentence, and never anything half-written.

How a file is damaged follows from a number. Hypothesis chooses the numbers; those that once found a fault stay in
``SEEDS``. The files of ``pack_model`` have tests of their own besides, in ``test_inference_bundle_fuzz.py``.
"""

import random
import time
from subprocess import CompletedProcess
from types import SimpleNamespace

import fuzz_targets as targets
import pytest
from hostile import assert_one_sentence, mutate_file
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from planning_data import use_threads

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE

SEEDS = (0, 1, 2, 3, 79, 1592)

# How many damaged files each command gets in the short and in the long test. Those that take long where the damage
# does no harm come last and get fewer.
COMMANDS = {
    targets.convert_iseg: (12, 500),
    targets.check_iseg: (8, 300),
    targets.add_iseg: (6, 200),
    targets.submit_iseg: (12, 500),
    targets.convert_bobs: (8, 300),
    targets.check_bobs: (4, 200),
    targets.phantom: (6, 200),
    targets.splits: (12, 600),
    targets.add_configuration: (12, 800),
    targets.workflow: (12, 800),
    targets.train: (8, 400),
    targets.path: (6, 200),
    targets.pack_model: (6, 200),
    targets.unpack_model: (6, 200),
    targets.export_onnx: (8, 250),
    targets.curves: (0, 100),
    targets.segment: (0, 100),
    targets.segment_with_folder: (0, 60),
    targets.segment_bids: (0, 60),
    targets.plan: (6, 80),
    targets.compare: (0, 40),
}


@pytest.fixture
def quick(monkeypatch):
    """Without what follows once the files are known to be good: ONNX's export, nnU-Net's training, Snakemake."""
    from nnunetv2.run import run_training

    from nnunetv2_dualagg.inference import export_onnx
    from nnunetv2_dualagg.workflow import run as workflow

    use_threads(monkeypatch)
    monkeypatch.setattr(run_training, "run_training", lambda *_, **__: None)
    monkeypatch.setattr(export_onnx, "export_network", lambda network, shape, part, metadata: part.touch())
    monkeypatch.setattr(export_onnx, "_difference", lambda *_: 0.0)
    snakemake = SimpleNamespace(run=lambda *_, **__: CompletedProcess([], 0, "", ""))
    monkeypatch.setattr(workflow, "subprocess", snakemake)
    monkeypatch.setattr(workflow, "_command", lambda arguments: arguments)


@pytest.fixture
def target(request, tmp_path, monkeypatch, quick):
    """Sound files, with which the command does its work."""
    set_environment(tmp_path, monkeypatch)
    return request.param(tmp_path)


def set_environment(folder, monkeypatch):
    """The variables as a user sets them; some commands change them for what they call."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / f"nnUNet_{name}"))
    monkeypatch.setenv(VARIABLE, str(EXT_TRAINER_FOLDER))


def run(target, capsys):
    """The exit code, and what the command wrote to stderr."""
    code = cli.main([str(argument) for argument in target.arguments])
    errors = capsys.readouterr().err
    if errors.endswith("Interrupted.\n"):
        raise KeyboardInterrupt  # which the command has made an exit code of
    return code, errors


def fuzz(target, tmp_path, monkeypatch, capsys, examples):
    target.remember()
    code, errors = run(target, capsys)
    assert code == 0, f"the sound files are refused: {errors[-2000:]}"
    target.put_back()
    counts = {"refused": 0, "done": 0}

    # not shrunk: the numbers mean nothing, and each run takes its time
    phases = [phase for phase in Phase if phase is not Phase.shrink]
    checks = list(HealthCheck)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=checks, phases=phases)
    @given(st.integers(0, 2**32))
    def check(seed):
        rng = random.Random(seed)
        file = rng.choice(target.files)
        file.write_bytes(mutate_file(file, target.sound(file), rng))
        set_environment(tmp_path, monkeypatch)
        try:
            code, errors = run(target, capsys)
            assert_one_sentence(code, errors, target.on_stdout)
            counts["refused" if code else "done"] += 1
            assert not code or target.is_untouched()
            assert not list(tmp_path.rglob(".nnunetv2_dualagg-*"))
        finally:
            target.put_back()

    for seed in SEEDS:
        check = example(seed)(check)
    check()
    return counts


def of(column):
    """The commands that get damaged files, with how many."""
    chosen = [(make, numbers[column]) for make, numbers in COMMANDS.items() if numbers[column]]
    return pytest.mark.parametrize(
        ("target", "number"), chosen, ids=[make.__name__ for make, _ in chosen], indirect=["target"]
    )


@of(0)
def test_some_mutations(tmp_path, monkeypatch, capsys, target, number):
    fuzz(target, tmp_path, monkeypatch, capsys, number)


@pytest.mark.slow
@of(1)
def test_many_mutations(request, tmp_path, monkeypatch, capsys, target, number):
    start = time.monotonic()
    counts = fuzz(target, tmp_path, monkeypatch, capsys, number)
    with capsys.disabled():
        seconds = time.monotonic() - start
        print(f" {request.node.name}: {counts['refused']} refused, {counts['done']} done, {seconds:.0f} s", flush=True)
