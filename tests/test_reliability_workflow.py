"""config.yaml of a stranger: no name in it becomes a path, an option or shell text, and bad values stop the dry run."""

import re
import shlex
from importlib.resources import files

import pytest
import yaml
from workflow_files import small_config

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.workflow.config import parse_config, read_config
from nnunetv2_dualagg.workflow.experiment import Experiment

PLAIN = small_config()["methods"]["plain"]
EVIL = ["nnUNetTrainer;touch pwned;#", "$(touch pwned)", "e precious", "..", "../x", "-x", "a__b", "a\nb", ""]
QUOTED_BEFORE = ("command", "options", "arguments", "variables", "on_gpus", "predictions", "models")
"""Parameters of the rules that are whole commands or options, put together by ``shlex.join``."""
NUMBERS = {"D", "threads", "params.processes"}


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: {"methods": {"plain": PLAIN | {"trainer": text}}},
        lambda text: {"methods": {"plain": PLAIN | {"plans": text}}},
        lambda text: {"methods": {"plain": PLAIN | {"configuration": text}}},
        lambda text: {"methods": {text: PLAIN}},
        lambda text: {"ensembles": {text: ["plain", "resenc"]}},
        lambda text: {"reduced_configurations": {text: small_config()["reduced_configurations"]["3d_tiny"]}},
        lambda text: {"dataset": {"raw": f"/data/Dataset123_{text}"}},
    ],
    ids=["trainer", "plans", "configuration", "method", "ensemble", "reduced", "raw"],
)
def test_names(change, text):
    with pytest.raises(UserError):
        parse_config(small_config(**change(text)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"methods": {"plain": PLAIN | {"num_gpus": -1}}}, "num_gpus"),
        ({"methods": {"plain": PLAIN | {"epochs": 0}}}, "epochs"),
        ({"dataset": {"id": 219, "phantom": {"num_trainings": 3}}}, "num_trainings"),
        ({"dataset": {"id": 219, "phantom": {"num_training": "3; touch pwned"}}}, "num_training"),
        ({"dataset": {"id": 219, "iseg": {"folders": ["x"], "yaer": 2019}}}, "yaer"),
        ({"threads": {"train": 0}}, "train"),
        ({"splits": "nothing.json"}, "nothing.json"),
        ({"ensembles": {"e precious": ["plain", "resenc"]}}, "ensembles: e precious is not a valid name"),
    ],
)
def test_values_that_stop_a_dry_run(tmp_path, change, sentence):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(small_config(**change)))
    with pytest.raises((UserError, OSError), match=sentence):
        read_config(file)


@pytest.mark.parametrize(
    "content", ["null", "[]", "3", "", "a: [", "\xff", "!!python/object/apply:os.system [touch pwned]"]
)
def test_yaml_of_a_wrong_form(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"config\.yaml"):
        read_config(tmp_path / "config.yaml")
    assert not (tmp_path / "pwned").exists()


def test_a_folder_in_config_is_one_word_of_the_shell(tmp_path):
    folder = "/data/it's; touch pwned"
    config = parse_config(small_config(dataset={"id": 219, "iseg": {"folders": ["x"], "sites": folder}}))
    command = Experiment(config, tmp_path).data.convert_command(1)
    assert folder in shlex.split(command)


def test_no_rule_gives_the_shell_unquoted_text():
    """Each placeholder in a shell command is quoted, or a number, or a command that was put together by shlex."""
    text = (files("nnunetv2_dualagg.workflow") / "rules.smk").read_text(encoding="utf-8")
    commands = re.findall(r"shell:\n((?: {8,}(?:#|\").*\n)+)", text)
    assert len(commands) >= 12
    found = [name for command in commands for name in re.findall(r"\{([^{}]+)\}", command)]
    assert found
    for name in found:
        last = name.rpartition(".")[2]
        assert name.endswith(":q") or name in NUMBERS or last in QUOTED_BEFORE, f"{{{name}}} is not quoted"
