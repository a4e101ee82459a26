import pytest

from nnunetv2_dualagg.demo.shell import Shell
from nnunetv2_dualagg.utils.errors import UserError


def test_a_command_runs_with_nnunets_folders_and_leaves_its_log(tmp_path, capfd):
    shell = Shell(tmp_path)
    raw, _, _ = shell.set_nnunet_folders()
    shell.run("Say", ["python", "-c", "import os; print(os.environ['nnUNet_raw'])"], done=False)
    assert (tmp_path / "logs" / "1-python.log").read_text().strip() == str(raw)
    assert f"export nnUNet_raw={raw}" in capfd.readouterr().out


def test_a_command_whose_work_is_done_is_shown_but_not_run(tmp_path, capfd):
    Shell(tmp_path).run("Fail", ["python", "-c", "raise SystemExit(1)"], done=True)
    assert "1. Fail (done already)" in capfd.readouterr().out


def test_a_failure_names_the_command_its_last_words_and_its_log(tmp_path):
    with pytest.raises(UserError, match=r"python failed with exit code 3: so long \(all of its output: .*1-python.log"):
        Shell(tmp_path).run("Fail", ["python", "-c", "print('so long'); raise SystemExit(3)"], done=False)


def test_a_command_that_is_not_installed(tmp_path):
    with pytest.raises(UserError, match="nnUNetv2_nothing is not installed"):
        Shell(tmp_path).run("Miss", ["nnUNetv2_nothing"], done=False)
