"""Fixtures for every test, and how tests are shared among the processes of `make test`."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadGroupScheduling

from tests.real_engine import real_engine

__all__ = ["real_engine"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the real engine go to one process, which has the only one, and are begun first: they take longest."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.xdist_group("engine"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadGroupScheduling:
    """Groups stay together, and so do the other tests of a module, for its fixtures."""
    return _ByModule(config, log)


class _ByModule(LoadGroupScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0]
