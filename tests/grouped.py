"""Tests that share a fixture of their module or folder share a worker of pytest-xdist, too.

A plugin of pytest. Otherwise each worker that gets one of the tests makes the fixture again. A
fixture of a module with params has one group for each of them.
"""

from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Mark them, before pytest-xdist reads the marks; a test with a mark of its own keeps it."""
    for item in items:
        if (name := group(item)) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(name))


def group(item: Any) -> str:
    """The group of a test; "" without such a fixture."""
    fixtures = [each[-1] for each in item._fixtureinfo.name2fixturedefs.values()]
    if folders := [each.baseid for each in fixtures if each.scope == "package"]:
        packages = {each.nodeid for each in item.iter_parents() if isinstance(each, pytest.Package)}
        if missing := sorted(set(folders) - packages):  # pytest would keep it to the end of all
            raise pytest.UsageError(f"{missing[0]} has a fixture of its package: add __init__.py")
        return str(min(folders))
    names = [each.argname for each in fixtures if each.scope == "module"]
    indices = item.callspec.indices if hasattr(item, "callspec") else {}
    numbers = [f":{indices[name]}" for name in names if name in indices]
    return item.nodeid.partition("::")[0] + "".join(numbers) if names else ""
