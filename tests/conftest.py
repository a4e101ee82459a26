import gc
import signal

import pytest

# A shell starts background jobs with Ctrl-C ignored, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


# Files whose tests take long come first: several processes share the files in this order, and none of them should be
# left alone with a long one in the end.
LONG = (
    "test_life_cycle",
    "test_reliability_kill",
    "test_reliability_fuzz",
    "test_trainers_foreground",
    "test_seeded_training",
)


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if "gpu" in item.keywords and not _cuda():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _cuda():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="module", autouse=True)
def garbage_collection_stays_quick():
    """Leave out what earlier modules imported: statsmodels collects garbage at each of many corrections."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()
