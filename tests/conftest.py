"""What holds for all tests: examples without deadlines, one thread for each process, and the long files first."""

import os

import pytest
from hypothesis import settings

settings.register_profile("mglm", deadline=None)  # a busy machine is no failure
settings.load_profile("mglm")

# Files run beside each other on all cores, and threads that wait for a core spin: four of them on two cores took six
# times the processor time of two. Set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A file runs in one process (--dist loadfile): one that takes minutes must not begin when the others are done.
LONG = ("test_demo.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
