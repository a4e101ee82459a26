import os
import time

import pytest

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import default_num_processes, run_parallel, run_threads


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


@pytest.mark.parametrize(("processors", "processes"), [(None, 1), (3, 3), (64, 8)])
def test_default_number_of_processes(monkeypatch, processors, processes):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert default_num_processes() == processes


def test_threads_give_results_by_the_order_of_the_items_and_start_nothing_after_a_failure():
    assert run_threads(square, range(7), 3, "Squares") == [0, 1, 4, 9, 16, 25, 36]
    started = []

    def note(number):
        started.append(number)
        time.sleep(0.05)
        return refuse_odd(number)

    with pytest.raises(UserError, match="is odd"):
        run_threads(note, range(1, 400), 1, "Odd")
    assert len(started) < 399
