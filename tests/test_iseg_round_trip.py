"""From the challenge's files to nnU-Net and back: the same voxels at the same indices, byte for byte."""

import json
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iseg_files import CODING_2017, SHAPES, SMALL, set_nnunet_folders, write_image, write_iseg, write_subject
from nnunet_commands import run_command
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
from nnunetv2_dualagg.dataset_conversion.iseg.submit import submit_iseg


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


LAYOUTS = [
    "subject-{n}-{kind}",
    "iSeg-{year}-Training/subject-{n}-{kind}",
    "subject-{n}/subject-{n}-{kind}",
    "subject-{n}/{kind}",
    "SUBJECT-{n}-{kind}",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(4, 9)] * 3),
    ending=st.sampled_from([".hdr", ".nii", ".nii.gz"]),
    order=st.sampled_from("<>"),
    dtype=st.sampled_from(["i2", "u2", "f4"]),
    coding=st.sampled_from([None, CODING_2017]),
    fourth=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
    spacing=st.sampled_from([(1, 1, 1), (0, 0, 0), (0.5, 0.75, 1)]),
)
def test_labels_come_back_byte_for_byte(
    tmp_path_factory, raw, shape, ending, order, dtype, coding, fourth, layout, spacing
):
    """Labels, converted, taken as predictions and submitted, are the file that they were."""
    folder = tmp_path_factory.mktemp("case")
    options = {"ending": ending, "order": order, "dtype": dtype, "coding": coding, "fourth": fourth, "spacing": spacing}
    year = 2019 if coding is None else 2017
    name = layout.replace("{year}", str(year))
    label, t1, t2 = write_subject(folder / "in", 3, shape=shape, name=name, **options)
    dataset = convert_iseg([folder / "in"], year - 2000, year=year, split="training", overwrite=True, num_processes=1)
    for name, voxels in (("imagesTr/iSeg_003_0000", t1), ("imagesTr/iSeg_003_0001", t2), ("labelsTr/iSeg_003", label)):
        itk = sitk.ReadImage(str(dataset / f"{name}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), voxels.transpose(2, 1, 0))
        assert itk.GetSpacing() == ((1, 1, 1) if 0 in spacing else spacing)
    submit_iseg(dataset / "labelsTr", folder / "in", folder / "out.zip", year=year)
    stored = label if coding is None else coding[label]
    with zipfile.ZipFile(folder / "out.zip") as archive:
        assert archive.read("subject-3-label.img") == stored.tobytes(order="F")


@pytest.mark.slow
@pytest.mark.parametrize("year", [2017, 2019])
def test_full_size_replica(tmp_path, raw, year):
    """All subjects with their true shapes, from Analyze files to the submission."""
    last = 23 if year == 2017 else 39
    stored = {}
    for number in range(1, last + 1):
        shape, coding = SHAPES[number], CODING_2017 if year == 2017 else np.arange(4, dtype=np.uint8)
        corner, offset = write_subject(tmp_path / "x", number, fourth=True)[0], [size // 3 for size in shape]
        label = np.zeros((*shape, 1), np.uint8)
        label[tuple(slice(o, o + s) for o, s in zip(offset, SMALL, strict=True))] = corner[..., None]
        split = "Training" if number <= 10 else "Validation" if year == 2019 and number <= 23 else "Testing"
        stem = tmp_path / f"iSeg-{year}-{split}/iSeg-{year}-{split}/subject-{number}"
        for kind, voxels in (("T1", label * np.int16(250)), ("T2", label * np.int16(300)), ("label", coding[label])):
            write_image(f"{stem}-{kind}", voxels)
        stored[number] = coding[label].tobytes(order="F")
    folders = sorted(tmp_path.glob("iSeg-*"))
    dataset = convert_iseg(folders, 219, num_processes=2)
    assert len(list(dataset.glob("images*/*.nii.gz"))) == 2 * last
    for folder in folders:
        part = "Tr" if "Training" in folder.name else "Ts"
        submit_iseg(dataset / f"labels{part}", folder, tmp_path / f"{folder.name}.zip")
        with zipfile.ZipFile(tmp_path / f"{folder.name}.zip") as archive:
            for name in archive.namelist():
                if name.endswith(".img"):
                    assert archive.read(name) == stored.pop(int(name.split("-")[1])), name
    assert not stored


@pytest.mark.slow
@pytest.mark.parametrize("year", [2017, 2019])
def test_with_nnunets_own_commands_and_a_network(tmp_path, raw, capfd, year):
    """Convert, plan and preprocess with the integrity check, predict with an untrained network, submit."""
    coding = CODING_2017 if year == 2017 else None
    folders, _ = write_iseg(tmp_path / "in", year, (1, 2, 12, 14), coding=coding, fourth=True, shape=(40, 48, 56))
    dataset = convert_iseg(folders, 219)
    run_command("nnUNetv2_plan_and_preprocess -d 219 --verify_dataset_integrity -c 3d_fullres -npfp 1 -np 1")
    done = capfd.readouterr()
    assert "verify_dataset_integrity Done" in done.out
    assert "Preprocessing cases: 100%" in done.err

    plans = PlansManager(str(tmp_path / "nnUNet_preprocessed" / dataset.name / "nnUNetPlans.json"))
    description = json.loads((dataset / "dataset.json").read_text())
    configuration = plans.get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        2,
        4,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"))
    weights = [network.state_dict()]
    predictor.manual_initialization(network, plans, configuration, weights, description, "nnUNetTrainer", None)
    predictor.predict_from_files(str(dataset / "imagesTs"), str(tmp_path / "pred"), False, True, 1, 1)
    assert submit_iseg(tmp_path / "pred", folders[1], tmp_path / "out.zip") == [12, 14]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        for number in (12, 14):
            itk = sitk.ReadImage(str(tmp_path / f"pred/iSeg_{number:03d}.nii.gz"))
            predicted = sitk.GetArrayFromImage(itk).transpose(2, 1, 0)
            stored = predicted if year == 2019 else CODING_2017[predicted]
            assert archive.read(f"subject-{number}-label.img") == stored.astype(np.uint8).tobytes(order="F")
            assert len(np.unique(predicted)) > 1  # else the comparison would say nothing
