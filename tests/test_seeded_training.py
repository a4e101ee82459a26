import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from planning_data import set_folders
from short_trainer import SHORT, prepare, write_short_trainer

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.training import nnunet_patches
from nnunetv2_dualagg.training import seeded as seeded_training
from nnunetv2_dualagg.utils.errors import UserError

MODEL = f"{SHORT}__nnUNetPlans__3d_tiny"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("seeded")
        folders = set_folders(root, patch)
        patch.setenv("nnUNet_extTrainer", write_short_trainer(root / "trainers"))
        patch.setenv("nnUNet_def_n_proc", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        folders.name = prepare(folders, patch)
        yield folders


@pytest.fixture
def results(dataset, tmp_path, monkeypatch):
    """A function that trains into a folder of results of its own and returns the fold's folder."""
    # What is trained matters here, not how well it predicts.
    monkeypatch.setattr(trainer_module.nnUNetTrainer, "perform_actual_validation", lambda self, _npz: None)
    monkeypatch.setattr(trainer_module.nnUNetTrainer, "plot_network_architecture", lambda self: None)

    def train(name, seed, processes, *arguments):
        monkeypatch.setenv("nnUNet_results", str(tmp_path / name))
        monkeypatch.setenv("nnUNet_n_proc_DA", str(processes))
        line = ["train", "-seed", seed, 1, "3d_tiny", 0, "-tr", SHORT, "-device", "cpu", *arguments]
        assert cli.main([str(word) for word in line]) == 0
        return tmp_path / name / f"seed_{seed}" / dataset.name / MODEL / "fold_0"

    return train


def weights(fold):
    return torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]


def equal(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("processes", [0, 3])
def test_the_same_seed_gives_the_same_bits_and_another_seed_another_network(results, processes):
    first = weights(results("first", 0, processes))
    assert equal(first, weights(results("second", 0, processes)))
    other = weights(results("first", 1, processes))
    assert not any(torch.equal(first[key], other[key]) for key in first if key.endswith("conv.weight"))


def blur_races():
    """Whether nnU-Net's blur chooses its algorithm by speed; the result then depends on what else the machine does."""
    return GaussianBlurTransform(1, False, False, 1, benchmark=True).benchmark


def test_no_algorithm_is_chosen_by_speed(results, monkeypatch):
    seen = []
    monkeypatch.setattr(run_training, "run_training", lambda *args, **options: seen.append(blur_races()))
    results("blur", 0, 0)
    assert seen == [False]
    assert blur_races()


def test_a_seed_is_stored_beside_the_other_and_nnunet_is_left_as_it_was(results, tmp_path):
    before = (trainer_module.NonDetMultiThreadedAugmenter, run_training.run_ddp, torch.get_num_threads())
    results("both", 3, 0)
    results("both", 14, 0)
    assert sorted(folder.name for folder in (tmp_path / "both").iterdir()) == ["seed_14", "seed_3"]
    assert (trainer_module.NonDetMultiThreadedAugmenter, run_training.run_ddp) == before[:2]
    assert torch.get_num_threads() == 1  # OMP_NUM_THREADS, where nnU-Net takes all processors


def test_a_resumed_training_goes_on_and_draws_other_numbers(results, monkeypatch):
    monkeypatch.setenv("SHORT_EPOCHS", "1")
    fold = results("resumed", 0, 0, "--c")
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    monkeypatch.setenv("SHORT_EPOCHS", "2")
    drawn = []
    seed_everything = seeded_training.seed_everything
    monkeypatch.setattr(seeded_training, "seed_everything", lambda s: (drawn.append(s.entropy), seed_everything(s)))
    results("resumed", 0, 0, "--c")
    checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 2
    assert len(checkpoint["logging"]["train_losses"]) == 2
    assert drawn == [[0, 1]]
    logs = sorted(fold.glob("training_log_*.txt"))
    assert "Epoch 0" in logs[0].read_text()
    assert "Epoch 0" not in logs[-1].read_text()


def test_a_checkpoint_that_was_cut_off_is_set_aside_and_the_training_goes_on_from_the_one_before(results, capsys):
    fold = results("cut", 0, 0)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_best.pth")
    whole = (fold / "checkpoint_best.pth").read_bytes()
    (fold / "checkpoint_latest.pth").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    results("cut", 0, 0, "--c")
    assert (fold / "checkpoint_latest.pth.damaged").is_file()
    assert f"{fold / 'checkpoint_latest.pth'} is damaged" in capsys.readouterr().out
    assert "Epoch" not in sorted(fold.glob("training_log_*.txt"))[-1].read_text()  # both epochs were behind it
    assert (fold / "checkpoint_final.pth").is_file()


def test_workers_differ_in_all_their_random_numbers_and_repeat_them():
    class Loader:
        def set_thread_id(self, number):
            self.number = number

        def __next__(self):
            return {"draw": (self.number, np.random.rand(), torch.rand(1).item())}

    augmenter = nnunet_patches._seeded_augmenter(np.random.SeedSequence(0))(Loader(), None, 2, 6)
    batches = [next(augmenter) for _ in range(6)]
    augmenter._finish()
    draws = [batch["draw"] for batch in batches]
    assert [number for number, _, _ in draws] == [0, 1, 0, 1, 0, 1]
    assert len({draw for _, *both in draws for draw in both}) == 12
    again = nnunet_patches._seeded_augmenter(np.random.SeedSequence(0))(Loader(), None, 2, 6)
    assert [next(again)["draw"] for _ in range(6)] == draws
    again._finish()
    assert isinstance(again, MultiThreadedAugmenter)  # nnU-Net asks, before it ends the workers


KILLED = """
import os, signal
import numpy as np
from nnunetv2_dualagg.training.nnunet_patches import _seeded_augmenter

class Loader:
    def set_thread_id(self, number):
        pass
    def __next__(self):
        return {"pid": os.getpid()}

augmenter = _seeded_augmenter(np.random.SeedSequence(0))(Loader(), None, 2, 2)
print("workers", next(augmenter)["pid"], next(augmenter)["pid"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_when_their_training_is_killed():
    killed = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False)
    pids = [int(word) for word in killed.stdout.split("workers")[1].split()]
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")")[-1].split()[0] != "Z"


def test_each_process_of_several_gpus_seeds_itself(monkeypatch):
    sequence = np.random.SeedSequence([7, 0])
    calls = []
    monkeypatch.setattr(trainer_module, "NonDetMultiThreadedAugmenter", trainer_module.NonDetMultiThreadedAugmenter)
    monkeypatch.setattr(GaussianBlurTransform, "__init__", GaussianBlurTransform.__init__)
    monkeypatch.setattr(run_training, "run_ddp", lambda rank, *args: calls.append((rank, args, torch.rand(1).item())))
    process = pickle.loads(pickle.dumps(nnunet_patches._SeededProcess(sequence)))  # as torch's spawn hands it over
    for rank in (0, 1, 0):
        process(rank, "dataset")
    assert [(rank, args) for rank, args, _ in calls] == [(0, ("dataset",)), (1, ("dataset",)), (0, ("dataset",))]
    assert calls[0][2] == calls[2][2] != calls[1][2]
    assert not blur_races()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-seed -1 1 3d_tiny 0", "the seed is -1; expected 0 or more"),
        ("-seed 0 1", "train needs nnU-Net's dataset, configuration and fold"),
        ("-seed 0 77 3d_tiny 0", "there is no dataset 77"),
    ],
)
def test_what_cannot_be_trained(dataset, line, sentence, capsys):
    assert cli.main(["train", *line.split()]) == 1
    assert sentence in capsys.readouterr().err


def test_options_of_nnunet_are_not_taken_for_ours():
    words = "219 3d_fullres 2 -pretrained_weights file.pth -tr nnUNetTrainerX -num_gpus 2 --npz -p nnUNetPlans --c"
    options = seeded_training._parse(words.split())
    found = (options.dataset, options.configuration, options.fold, options.tr, options.p, options.c)
    assert found == ("219", "3d_fullres", "2", "nnUNetTrainerX", "nnUNetPlans", True)


def test_another_nnunet_is_told_instead_of_trained_without_a_seed(results, monkeypatch, capsys):
    monkeypatch.setattr(run_training, "run_ddp", lambda rank, options: None)
    with pytest.raises(AssertionError):
        results("changed", 0, 0)
    error = capsys.readouterr().err
    assert "run_ddp takes (rank, options), expected (rank, dataset_name_or_id, " in error
    assert 'pip install "nnunetv2==' in error


def test_the_results_folder_has_to_be_known(dataset, monkeypatch):
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(UserError, match="nnUNet_results is not set"):
        seeded_training.train(0, ["1", "3d_tiny", "0"])
