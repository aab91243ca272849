"""Find plugins, name them, and gather what they offer."""

from __future__ import annotations

import difflib
import importlib.metadata
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mlms.errors import PluginError, UnknownNameError
from mlms.hooks import specs
from mlms.hooks.types import Component, Dataset, Exporter, Framework, Metric, Processor, Profiler, Task

if TYPE_CHECKING:
    import pluggy

T = TypeVar("T")

ENTRY_POINT_GROUP = "mlms"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin; ``error`` is its traceback when it was left out."""

    name: str
    distribution: str
    version: str
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Registered(Generic[T]):
    """A component and the plugin that offers it."""

    component: Component[T]
    plugin: Plugin


class Registry(Generic[T]):
    """The components of one kind (``noun``, such as "framework") by name."""

    def __init__(self, noun: str, entries: Mapping[str, Registered[T]]) -> None:
        self.noun = noun
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[Registered[T]]:
        return iter(self._entries[name] for name in sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> Registered[T]:
        """Raises UnknownNameError with the nearest names."""
        try:
            return self._entries[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._entries, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(self._entries))}"
            raise UnknownNameError(f"no {self.noun} is named '{name}'", hint=hint) from None


@dataclass(frozen=True, slots=True)
class Components:
    """All that the installed plugins offer."""

    plugins: tuple[Plugin, ...]
    frameworks: Registry[Framework]
    processors: Registry[Processor]
    datasets: Registry[Dataset]
    tasks: Registry[Task]
    metrics: Registry[Metric]
    profilers: Registry[Profiler]
    exporters: Registry[Exporter]
    asset_folders: tuple[Path, ...]
    hook: pluggy.HookRelay
    """For the lifecycle hooks."""

    @property
    def registries(self) -> Mapping[str, Registry[Any]]:
        """The registries by the word that the command line has for what is in them."""
        return {
            "framework": self.frameworks,
            "processor": self.processors,
            "reader": self.datasets,
            "task": self.tasks,
            "metric": self.metrics,
            "profiler": self.profilers,
            "exporter": self.exporters,
        }

    @property
    def broken(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.plugins if plugin.error)


HOOKS = ("frameworks", "processors", "datasets", "tasks", "metrics", "profilers", "exporters", "asset_folders")
"""The registration hooks, without their prefix ``mlms_``."""


def load_asset_folders() -> tuple[Path, ...]:
    """The asset folders of the installed plugins, found without making a list of any component.

    The assets that ship with mlms are no plugin's, so this loads no builtin, and with them no NumPy.
    """
    return load_components(hooks=("asset_folders",)).asset_folders


def load_components(builtin: Iterable[tuple[Plugin, object]] = (), hooks: Collection[str] = HOOKS) -> Components:
    """Load every plugin: ``builtin`` ones first, then those with an entry point in the group ``mlms``.

    Only what ``hooks`` names is asked of them; the rest is left empty.

    A plugin that fails to import or register is left out, its traceback kept in ``Plugin.error``.

    Raises:
        PluginError: two plugins offer a component of one name; the message names both distributions.
    """
    import pluggy

    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    plugins: dict[str, Plugin] = {}
    for plugin, module in builtin:
        manager.register(module, plugin.name)
        plugins[plugin.name] = plugin
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        plugin = _describe(entry_point)
        if plugin.name in plugins:  # what makes a plugin's name its own is its distribution
            plugin = replace(plugin, name=f"{plugin.distribution}:{plugin.name}")
        plugins[plugin.name] = _register(manager, entry_point, plugin)

    gathered: dict[str, list[tuple[Plugin, Any]]] = {hook: [] for hook in HOOKS}
    for hook in hooks:
        for implementation in getattr(manager.hook, f"mlms_{hook}").get_hookimpls():
            plugin = plugins[implementation.plugin_name]
            if plugin.error:
                continue
            try:
                offered = [(plugin, item) for item in implementation.function()]
            except Exception:
                plugins[plugin.name] = replace(plugin, error=traceback.format_exc())
                manager.unregister(name=plugin.name)
                gathered = {
                    key: [entry for entry in entries if entry[0].name != plugin.name]
                    for key, entries in gathered.items()
                }
                continue
            gathered[hook] += offered

    return Components(
        plugins=tuple(plugins.values()),
        frameworks=_registry("framework", gathered["frameworks"]),
        processors=_registry("processor", gathered["processors"]),
        datasets=_registry("dataset reader", gathered["datasets"]),
        tasks=_registry("task", gathered["tasks"]),
        metrics=_registry("metric", gathered["metrics"]),
        profilers=_registry("profiler", gathered["profilers"]),
        exporters=_registry("exporter", gathered["exporters"]),
        asset_folders=tuple(Path(folder) for _, folder in gathered["asset_folders"]),
        hook=manager.hook,
    )


def _describe(entry_point: importlib.metadata.EntryPoint) -> Plugin:
    distribution = entry_point.dist
    if distribution is None:
        return Plugin(entry_point.name, entry_point.value, "unknown version")
    return Plugin(entry_point.name, distribution.name, distribution.version)


def _register(manager: pluggy.PluginManager, entry_point: importlib.metadata.EntryPoint, plugin: Plugin) -> Plugin:
    try:
        manager.register(entry_point.load(), plugin.name)
        unknown = _unknown_hooks(manager, plugin.name)
        if unknown:
            manager.unregister(name=plugin.name)
            raise PluginError(f"{plugin} implements hooks that mlms doesn't have: {', '.join(unknown)}")
    except Exception:
        return replace(plugin, error=traceback.format_exc())
    return plugin


def _unknown_hooks(manager: pluggy.PluginManager, name: str) -> list[str]:
    module = manager.get_plugin(name)
    return [caller.name for caller in manager.get_hookcallers(module) or () if not caller.has_spec()]


def _registry(noun: str, offered: list[tuple[Plugin, Component[Any]]]) -> Registry[Any]:
    entries: dict[str, Registered[Any]] = {}
    for plugin, component in offered:
        if component.name in entries:
            other = entries[component.name].plugin
            raise PluginError(
                f"two plugins offer the {noun} '{component.name}': {other} and {plugin}",
                hint=f"uninstall one of {other.distribution} and {plugin.distribution}",
            )
        entries[component.name] = Registered(component, plugin)
    return Registry(noun, entries)
