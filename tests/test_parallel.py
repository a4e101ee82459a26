import os

import pytest

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import default_num_processes, run_parallel


def square(number):
    return number * number


def refuse_odd(number):
    if number % 2:
        raise UserError(f"{number} is odd")
    return number


def die(_):
    os._exit(9)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_results_come_in_the_order_of_the_items(num_processes, capsys):
    assert run_parallel(square, range(7), num_processes) == [0, 1, 4, 9, 16, 25, 36]
    assert "7/7" in capsys.readouterr().err


@pytest.mark.parametrize("num_processes", [1, 2])
def test_the_first_failure_by_order_is_raised(num_processes):
    with pytest.raises(UserError, match=r"^1 is odd$"):
        run_parallel(refuse_odd, [0, 1, 2, 3], num_processes)


def test_a_killed_worker_is_told():
    with pytest.raises(UserError, match=r"worker process was killed.*-np"):
        run_parallel(die, [1, 2], 2)


def test_no_items():
    assert run_parallel(square, [], 4) == []


def test_default_number_of_processes():
    assert 1 <= default_num_processes() <= 8
