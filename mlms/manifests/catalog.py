"""The assets on the search path, looked up by name; every look-up sees the files as they are at that moment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlms.errors import DocumentError, InputError, Place, Problem, UnknownNameError, VersionError
from mlms.manifests.assets import Origin, dataset_asset, framework_asset, model_asset
from mlms.manifests.folder import Folder, Found
from mlms.manifests.names import NAME, Reference, precedence, suggestion
from mlms.manifests.places import cache_folder
from mlms.manifests.reader import place_of
from mlms.manifests.types import DEFAULT_VERSION, KINDS, DatasetAsset, FrameworkAsset, Kind, ModelAsset
from mlms.storage import reading


@dataclass(frozen=True, slots=True)
class Entry:
    """An asset in a listing; ``task`` and ``framework`` are None where the kind has none."""

    kind: Kind
    name: str
    version: str
    path: Path
    description: str = ""
    task: str | None = None
    framework: str | None = None
    tags: tuple[str, ...] = ()


def shipped_assets() -> Path:
    """The assets that come with mlms: inside the installed package, else at the top of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"


def search_path(extra: Iterable[Path] = (), plugins: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The folders of the catalog: shipped, plugins', ``./assets``, ``$MLMS_ASSETS``, then ``extra``.

    Raises:
        InputError: a folder of ``$MLMS_ASSETS`` or ``extra`` does not exist, or can't be looked at.
    """
    named = [Path(part).expanduser() for part in os.environ.get("MLMS_ASSETS", "").split(os.pathsep) if part]
    for folder, giver in [(folder, "$MLMS_ASSETS") for folder in named] + [(folder, "--assets") for folder in extra]:
        with reading(folder):
            found = folder.is_dir()
        if not found:
            raise InputError(f"{giver} names '{folder}', which is no directory", hint="create it, or leave it out")
    folders = [shipped_assets(), *plugins, Path("assets"), *named, *extra]
    return tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))


class Catalog:
    """The assets below ``folders``. One broken file hides no other.

    Look-ups take ``name`` (its highest version) or ``name@version`` and raise:
        UnknownNameError: nothing has the name; the hint gives the nearest ones.
        VersionError: the name exists, in other versions.
        DocumentError: the file is broken, or two files define the same.
    """

    def __init__(self, folders: Sequence[Path], cache: Path | None = None) -> None:
        """``cache`` is the directory of what was read before; ``cache_folder()/catalog`` where not given."""
        cache = cache_folder() / "catalog" if cache is None else cache
        self.folders = tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
        self._folders = tuple(Folder(folder, cache) for folder in self.folders)

    def entries(self, kind: Kind | None = None) -> tuple[Entry, ...]:
        """The valid assets (of one kind), by kind, name and version."""
        wanted = KINDS if kind is None else (kind,)
        entries = [_entry(found) for found in self._files() if found.error is None and found.data["kind"] in wanted]
        return tuple(sorted(entries, key=lambda e: (KINDS.index(e.kind), e.name, precedence(e.version), e.path)))

    def model(self, ref: str) -> ModelAsset:
        found = self._find("model", ref)
        return model_asset(found.data, _origin(found))

    def framework(self, ref: str) -> FrameworkAsset:
        found = self._find("framework", ref)
        return framework_asset(found.data, _origin(found))

    def dataset(self, ref: str) -> DatasetAsset:
        found = self._find("dataset", ref)
        return dataset_asset(found.data, _origin(found), self.labels)

    def labels(self, name: str) -> tuple[str, ...]:
        """The label list ``labels/NAME.txt`` of any folder: one label a line, in the order of the classes.

        Also raises:
            InputError: it is there twice, leads out of its folder, or is no list of labels.
            StorageError: it can't be read.
        """
        folders = self.folders if NAME.fullmatch(name) else ()
        places = [(folder, folder / "labels" / f"{name}.txt") for folder in folders]
        with reading(Path(name)):
            files = [(folder, path) for folder, path in places if path.is_file()]
        if not files:
            known = (path.stem for folder in self.folders for path in (folder / "labels").glob("*.txt"))
            hint = suggestion(name, known, "the catalog's folders labels/")
            raise UnknownNameError(f"there is no label list '{name}'", hint=hint)
        folder, file = files[0]
        if len(files) > 1:
            raise InputError(f"label list '{name}' is there twice: {file} and {files[1][1]}", hint="rename one")
        if not Path(os.path.realpath(file)).is_relative_to(folder):
            raise InputError(
                f"label list '{name}' leads out of the asset folder {folder}",
                place=Place(file),
                hint="put the list itself there, not a link to it",
            )
        try:
            with reading(file):
                lines = file.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise InputError("not UTF-8 text", place=Place(file), hint="save the file as UTF-8") from None
        labels = tuple(line.strip() for line in lines)
        if "" in labels or not labels:
            line = labels.index("") + 1 if labels else 1
            raise InputError("a line without a label", place=Place(file, line), hint="write one label a line")
        return labels

    def problems(self) -> tuple[DocumentError, ...]:
        """What is wrong in the folders: broken files, and assets that are defined twice."""
        files = self._files()
        broken = [found.error for found in files if found.error is not None]
        groups: dict[tuple[str, str, str], list[Found]] = {}
        for found in files:
            if found.error is None:
                groups.setdefault((found.data["kind"], found.data["name"], _version(found)), []).append(found)
        return (*broken, *(_twice(group) for group in groups.values() if len(group) > 1))

    def _files(self) -> list[Found]:
        # A folder on the path may lie inside another one; its files count once, as the first one's.
        files: dict[Path, Found] = {}
        for folder in self._folders:
            for found in folder.files():
                files.setdefault(found.path, found)
        return list(files.values())

    def _find(self, kind: Kind, ref: str) -> Found:
        name, version = Reference.parse(ref)
        files = [found for found in self._files() if found.data.get("kind", kind) == kind]
        named = [found for found in files if found.data["name"] == name]
        for found in named:
            if found.error is not None and version in (None, _version(found)):
                raise found.error
        valid = [found for found in named if found.error is None]
        if not valid:
            known = (found.data["name"] for found in files if found.error is None)
            hint = suggestion(name, known, f"`mlms list {kind}s`")
            if kind == "framework":
                hint += "; most frameworks are plugins, which docs/frameworks.md lists"
            raise UnknownNameError(f"there is no {kind} '{name}'", hint=hint)
        versions = sorted({_version(found) for found in valid}, key=precedence)
        if version is None:
            version = versions[-1]
        matches = [found for found in valid if _version(found) == version]
        if not matches:
            exist = f"{'these versions exist' if len(versions) > 1 else 'the only version is'}: {', '.join(versions)}"
            raise VersionError(f"{kind} '{name}' has no version {version}", hint=exist)
        if len(matches) > 1:
            raise _twice(matches)
        return matches[0]


def _origin(found: Found) -> Origin:
    return Origin(found.path.parent, found.root, found.path)


def _version(found: Found) -> str:
    return str(found.data.get("version", DEFAULT_VERSION))


def _entry(found: Found) -> Entry:
    data = found.data
    framework = data.get("framework")
    return Entry(
        kind=data["kind"],
        name=data["name"],
        version=_version(found),
        path=found.path,
        description=data.get("description", ""),
        task=data.get("task"),
        framework=framework["name"] if isinstance(framework, dict) else framework,
        tags=tuple(data.get("tags", ())),
    )


def _twice(group: Sequence[Found]) -> DocumentError:
    first, *others = group
    what = f"{first.data['kind']} '{first.data['name']}' version {_version(first)}"
    also = " and ".join(str(place_of(found.path, ("name",))) for found in others)
    message = f"{what} is defined here and in {also}"
    hint = "give one of them another name or version"
    return DocumentError([Problem(place_of(first.path, ("name",)), "name", message, hint)])
