"""What holds for all tests: examples without deadlines, and the long files first."""

import pytest
from hypothesis import settings

settings.register_profile("mglm", deadline=None)  # a busy machine is no failure
settings.load_profile("mglm")

# A file runs in one process (--dist loadfile): one that takes minutes must not begin when the others are done.
LONG = ("test_demo.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
