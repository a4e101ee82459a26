"""Plan, split, train and predict with the network from the plans: nnU-Net's stock trainer, no environment variable."""

import math

import nibabel as nib
import pytest
import torch
from nnunet_commands import add_tiny_configuration, run_command, shorten_epochs
from planning_data import set_folders, use_threads, write_dataset

from nnunetv2_dualagg.planning.splits import trained_folds

NAME = "Dataset001_Boxes"


@pytest.mark.slow
def test_the_stock_trainer_trains_our_network(tmp_path, monkeypatch, capsys):
    folders = set_folders(tmp_path, monkeypatch)
    use_threads(monkeypatch)
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    shorten_epochs(monkeypatch, 20)
    write_dataset(folders.raw, cases=3)
    run_command("nnUNetv2_plan_and_preprocess -d 1 -c 3d_fullres -npfp 1 -np 1 --no_pbar")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    run_command("nnUNetv2_dualagg plan -d 1")
    assert "nnUNetv2_train 1 3d_fullres 0 -p nnUNetDualAggPlans" in capsys.readouterr().out
    run_command("nnUNetv2_dualagg splits -d 1 --holdout iSeg_003")
    add_tiny_configuration(folders.preprocessed / NAME / "nnUNetDualAggPlans.json")

    run_command("nnUNetv2_train 1 3d_tiny 0 -p nnUNetDualAggPlans -tr nnUNetTrainer_1epoch -device cpu")
    (fold,) = trained_folds(NAME)
    assert fold.parent.name == "nnUNetTrainer_1epoch__nnUNetDualAggPlans__3d_tiny"
    checkpoint = torch.load(fold / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert any(".attention.position." in key for key in checkpoint["network_weights"])
    assert all(math.isfinite(loss) for loss in checkpoint["logging"]["train_losses"])
    assert [file.name for file in (fold / "validation").glob("*.nii.gz")] == ["iSeg_003.nii.gz"]

    run_command(
        "nnUNetv2_predict -d 1 -c 3d_tiny -p nnUNetDualAggPlans -f 0 -tr nnUNetTrainer_1epoch -device cpu "
        "-npp 1 -nps 1 --disable_tta",
        *("-i", folders.raw / NAME / "imagesTr", "-o", tmp_path / "predictions"),
    )
    prediction = nib.load(tmp_path / "predictions" / "iSeg_003.nii.gz")
    label = nib.load(folders.raw / NAME / "labelsTr" / "iSeg_003.nii.gz")
    assert prediction.shape == label.shape
    assert prediction.affine == pytest.approx(label.affine)
