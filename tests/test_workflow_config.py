import copy
import shlex
from importlib.resources import files

import pytest
import yaml
from workflow_files import small_config

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.workflow.config import parse_config, read_config


def test_the_template_is_a_working_configuration(tmp_path):
    template = files("nnunetv2_dualagg.workflow") / "files" / "config.yaml"
    config = parse_config(yaml.safe_load(template.read_text()))
    assert config.dataset.sources == ["phantom"]
    assert [method.model for method in config.methods] == [
        "nnUNetTrainer_1epoch__nnUNetPlans__3d_small",
        "nnUNetTrainerDualAgg_1epoch__nnUNetPlans__3d_small",
    ]


def test_what_is_left_out_is_as_in_nnunet(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("{dataset: {raw: /x/Dataset007_Y}, methods: {a: {trainer: T}}, folds: [0], seeds: [0]}")
    config = read_config(file)
    method = config.methods[0]
    assert (method.plans, method.configuration, method.num_gpus) == ("nnUNetPlans", "3d_fullres", 1)
    assert (config.device, config.splits, config.step_size, config.test_time_augmentation) == (
        "cuda",
        "default",
        0.5,
        True,
    )


FAULTS = [
    (lambda c: c.pop("dataset"), "the file lacks dataset"),
    (lambda c: c.pop("folds"), "the file lacks folds"),
    (lambda c: c.update(seeds=[0, 0]), "seeds names a number twice"),
    (lambda c: c.update(seeds=[-1]), r"seeds\[0\] is -1; expected greater than or equal to 0"),
    (lambda c: c.update(seeds=[True]), r"seeds\[0\] is True; expected a whole number"),
    (lambda c: c.update(seed=[0]), "the file has the unknown key seed"),
    (lambda c: c["dataset"].update(raw="Dataset001_X"), "dataset has phantom and raw; expected one of"),
    (lambda c: c["dataset"].pop("phantom"), "dataset has no source; expected one of phantom, iseg, bobs, raw"),
    (lambda c: c["dataset"].update(id=1000), "dataset: id is 1000; expected less than or equal to 999"),
    (lambda c: c["dataset"].update(title="x"), "dataset has the unknown key title"),
    (lambda c: c["dataset"].update(bobs={"folders": ["a"]}), "dataset has phantom and bobs; expected one of"),
    (lambda c: c.update(dataset={"id": 1, "bobs": {}}), "dataset: bobs lacks folders"),
    (
        lambda c: c.update(dataset={"id": 1, "iseg": {"folders": ["a"]}, "bobs": {"folders": ["b"]}}),
        "dataset has iseg and bobs but no name; expected one",
    ),
    (lambda c: c.update(splits="by-subject", folds=[5]), "folds names 5, but these splits have the folds 0 to 4"),
    (lambda c: c.update(tissues="GM"), "tissues is 'GM'; expected a list"),
    (lambda c: c.update(dataset={"raw": "/data/iSeg"}), "dataset has raw = /data/iSeg; expected a folder named like"),
    (lambda c: c.update(dataset={"id": 1, "iseg": {}}), "dataset: iseg lacks folders"),
    (lambda c: c.update(dataset={"id": 1, "iseg": ["a"]}), r"dataset: iseg is \['a'\]; expected keys with values"),
    (lambda c: c.update(methods={}), "methods is empty"),
    (lambda c: c.update(methods=["a"]), r"methods is \['a'\]; expected keys with values"),
    (lambda c: c["methods"].update(a={}), "methods: a lacks trainer"),
    (lambda c: c["methods"].update(a={"trainer": "T", "plan": "P"}), "methods: a has the unknown key plan"),
    (
        lambda c: c["methods"].update(a={"trainer": "T", "plans": "P"}),
        "methods: a: plans is 'P'; expected 'nnUNetPlans', ",
    ),
    (
        lambda c: c["methods"].update({"a b": {"trainer": "T"}}),
        "methods: a b: name is not a valid name; expected letters",
    ),
    (lambda c: c["methods"]["plain"].update(configuration="3d_cascade_fullres"), "needs another model's predictions"),
    (lambda c: c["methods"].update(a=c["methods"]["plain"]), "methods: a and plain are the same trainer"),
    (lambda c: c["methods"]["plain"].update(num_gpus=2), "num_gpus is 2, but device is cpu; expected cuda"),
    (lambda c: c["reduced_configurations"]["3d_tiny"].pop("batch_size"), "3d_tiny lacks batch_size"),
    (
        lambda c: c.update(splits="leave_one_out"),
        "splits is leave_one_out; expected default, by-subject, by-site, loso",
    ),
    (
        lambda c: c["methods"].update(a={**c["methods"]["plain"], "folds": [1, 0]}),
        "methods: a and plain are the same trainer, plans and configuration on the same folds",
    ),
    (lambda c: c["methods"]["plain"].update(folds=[6]), "folds names 6, but these splits have the folds 0 to 4"),
    (lambda c: c["methods"]["plain"].update(folds=[]), "methods: plain: folds is empty"),
    (lambda c: c.update(folds=[5]), "folds names 5, but these splits have the folds 0 to 4"),
    (lambda c: c.update(splits=["iSeg_010"], folds=[0, 1]), "folds names 1, but these splits have the folds 0 to 0"),
    (lambda c: c.update(ensembles={"plain": ["plain", "resenc"]}), "ensembles: plain is a method's name too"),
    (lambda c: c.update(ensembles={"both": ["plain"]}), "expected two or more of plain, resenc"),
    (lambda c: c.update(ensembles={"both": ["plain", "other"]}), "expected two or more of plain, resenc"),
    (lambda c: c.update(device="gpu"), "device is 'gpu'; expected 'cuda', 'cpu' or 'mps'"),
    (lambda c: c.update(step_size=0), "step_size is 0; expected greater than 0"),
    (lambda c: c.update(threads={"training": 4}), "threads has the unknown key training"),
    (lambda c: c.update(threads={"train": 0}), "threads: train is 0"),
    (lambda c: c.update(step_size="0.5"), "^[^ ]*: step_size is '0.5'; expected a number"),
    (lambda c: c.update(device=3), "device is 3; expected 'cuda', 'cpu' or 'mps'"),
    (lambda c: c.update(splits=[1, 2]), r"splits\[0\] is 1; expected a word"),
    (lambda c: c.update(ensembles={"both": 5}), "ensembles: both is 5; expected a list"),
    (lambda c: c.update(ensembles=[["plain", "resenc"]]), "ensembles is .* expected keys with values"),
    (lambda c: c.update(dataset={"id": 1, "phantom": True}), "dataset: phantom is True; expected keys with values"),
    (lambda c: c["methods"]["plain"].update(num_gpus="2"), "methods: plain: num_gpus is '2'; expected a whole number"),
    (lambda c: c["methods"]["plain"].update(epochs=1.5), "epochs is 1.5; expected a whole number"),
    (
        lambda c: c["reduced_configurations"]["3d_tiny"].update(patch_size=16),
        "3d_tiny: patch_size is 16; expected a list",
    ),
    (
        lambda c: c["reduced_configurations"]["3d_tiny"].update(patch_size=["16"]),
        r"patch_size\[0\] is '16'; expected a whole number",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_a_fault_is_told_in_one_sentence_with_the_file(tmp_path, spoil, sentence):
    config = copy.deepcopy(small_config())
    spoil(config)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(UserError, match=sentence) as caught:
        read_config(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_yaml_or_not_there(tmp_path):
    file = tmp_path / "config.yaml"
    with pytest.raises(UserError, match=r"config.yaml does not exist; nnUNetv2_dualagg workflow -o .* writes one"):
        read_config(file)
    file.write_text("methods: [")
    with pytest.raises(UserError, match="is not YAML: while parsing") as caught:
        read_config(file)
    assert "\n" not in str(caught.value)
    file.write_text("just words")
    with pytest.raises(UserError, match="the file is 'just words'; expected keys with values"):
        read_config(file)


def test_the_commands_to_type_next_are_quoted(tmp_path, capsys):
    folder = tmp_path / "my experiment"
    assert cli.main(["workflow", "-o", str(folder)]) == 0
    *_, dry_run, run = capsys.readouterr().out.splitlines()
    assert shlex.split(dry_run) == ["nnUNetv2_dualagg", "workflow", "-o", str(folder), "--dry-run"]
    assert shlex.split(run) == ["nnUNetv2_dualagg", "workflow", "-o", str(folder), "--run"]
