from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.distributions import importable, install
from mlms.errors import PluginError, UnknownNameError
from mlms.hooks import Component, hookimpl
from mlms.hooks.components import Plugin, Registered, Registry, load_asset_folders, load_components

HEAD = "from mlms.hooks import Component, hookimpl\n"


def offering(*names: str) -> SimpleNamespace:
    """A plugin with processors of these names."""

    @hookimpl
    def mlms_processors() -> list[Component[object]]:
        return [Component(name, lambda options, context: str, f"The {name}.") for name in names]

    return SimpleNamespace(mlms_processors=mlms_processors)


def test_components_are_gathered_by_kind_and_name_their_plugin() -> None:
    plugin = Plugin("mine", "my-dist", "2.0")
    components = load_components([(plugin, offering("b", "a"))])
    assert [entry.component.name for entry in components.processors] == ["a", "b"]
    assert components.processors.get("a").plugin == plugin
    assert "a" in components.processors
    assert "a" not in components.metrics
    assert str(plugin) == "my-dist 2.0"


def test_every_registry_answers_to_a_word() -> None:
    registries = load_components().registries
    assert {"framework", "processor", "reader", "task", "metric"} <= registries.keys()
    assert all(isinstance(registry, Registry) for registry in registries.values())


def test_two_of_one_name_name_both_distributions() -> None:
    plugins = [(Plugin("one", "first-dist", "1"), offering("x")), (Plugin("two", "second-dist", "2"), offering("x"))]
    with pytest.raises(PluginError, match="'x': first-dist 1 and second-dist 2") as caught:
        load_components(plugins)
    assert caught.value.hint == "uninstall one of first-dist and second-dist"


def test_an_unknown_name_comes_with_the_nearest() -> None:
    entry = Registered(Component("resize", lambda options, context: str, ""), Plugin("p", "d", "1"))
    registry = Registry("processor", {"resize": entry})
    with pytest.raises(UnknownNameError, match="no processor is named 'resise'") as caught:
        registry.get("resise")
    assert caught.value.hint == "did you mean resize?"
    with pytest.raises(UnknownNameError) as caught:
        registry.get("zzz")
    assert caught.value.hint == "there are: resize"


def test_all_that_a_broken_plugin_offered_is_left_out(tmp_path: Path) -> None:
    """It offers a processor first, and raises when it is asked for metrics."""
    source = f"""{HEAD}
@hookimpl
def mlms_processors():
    return [Component("early", lambda options, context: str, "Early.")]

@hookimpl
def mlms_metrics():
    yield Component("late", lambda options, context: str, "Late.")
    raise RuntimeError("out of metrics")
"""
    install(tmp_path, "half", "0.5", source)
    with importable(tmp_path):
        components = load_components([(Plugin("mine", "my-dist", "2.0"), offering("kept"))])
    (broken,) = components.broken
    assert str(broken) == "half 0.5"
    assert broken.error is not None
    assert "out of metrics" in broken.error
    assert [entry.component.name for entry in components.processors] == ["kept"]
    assert list(components.metrics) == []


def test_asset_folders_are_found_without_asking_for_components(tmp_path: Path) -> None:
    source = f"""{HEAD}
@hookimpl
def mlms_asset_folders():
    return ["/somewhere/assets"]

@hookimpl
def mlms_processors():
    raise AssertionError("nobody asked")
"""
    install(tmp_path, "folders", "1", source)
    with importable(tmp_path):
        assert Path("/somewhere/assets") in load_asset_folders()
