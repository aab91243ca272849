"""The virtual environments in the cache: made once for equal requirements, whole or absent."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from pathlib import Path

from mlms.environments.environment import Environment, read
from mlms.environments.interpreters import running_version
from mlms.errors import Place, StorageError, UnknownNameError
from mlms.manifests.locks import locked
from mlms.manifests.names import suggestion
from mlms.manifests.places import cache_folder
from mlms.manifests.types import EnvironmentSpec
from mlms.progress import Progress
from mlms.storage import reading


def folder() -> Path:
    return cache_folder() / "environments"


def digest_of(spec: EnvironmentSpec) -> str:
    """SHA-256 of what decides an environment: the Python, the requirements, and the kind of machine."""
    requirements = sorted(re.sub(r"\s", "", requirement).lower() for requirement in spec.requirements)
    facts = [spec.python or running_version(), requirements, platform.system(), platform.machine()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def folder_of(spec: EnvironmentSpec) -> Path:
    """Where the environment for ``spec`` is, once it is made."""
    return folder() / digest_of(spec)[:16]


def existing(spec: EnvironmentSpec) -> Environment | None:
    """The environment for ``spec``, if it was made."""
    return _read(folder_of(spec))


def provide(spec: EnvironmentSpec, framework: str, progress: Progress) -> Environment:
    """The environment for ``spec``, built unless it is there. ``framework`` names it, and is for messages.

    Raises:
        InputError: there is no such Python, or the requirements can't be met.
        StorageError: the cache can't be written.
    """
    if found := existing(spec):
        return found
    from mlms.environments.build import build

    digest = digest_of(spec)
    target = folder_of(spec)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with (
            progress.task(f"building the environment of {framework} (once)"),
            locked(target.with_name(f".{target.name}.lock")),
        ):
            if found := existing(spec):  # another process built it while this one waited
                return found
            unfinished = target.with_name(f".{target.name}.building")
            for left_over in (unfinished, target):
                shutil.rmtree(left_over, ignore_errors=True)
            try:
                build(spec, framework, f"{framework}-{digest[:8]}", digest, unfinished)
                unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"can't keep the environment of framework '{framework}' in {folder()}: {error.strerror or error}",
            hint="make room there, or set MLMS_CACHE to a directory that can be written",
        ) from error
    return read(target)


def all_environments() -> list[Environment]:
    """Those in the cache, by name.

    Raises:
        StorageError: the cache can't be read.
    """
    with reading(folder()):
        if not folder().is_dir():
            return []
        found = [_read(each) for each in folder().iterdir() if not each.name.startswith(".")]
    return sorted((each for each in found if each is not None), key=lambda each: each.name)


def size_of(environment: Environment) -> int:
    """Bytes of its files; those that it shares with a package cache by hard links count as well."""
    return sum(path.lstat().st_size for path in environment.folder.rglob("*") if path.is_file() or path.is_symlink())


def remove(name: str) -> list[Environment]:
    """Remove the environment of that name, or all that were built for a framework of that name; returns them.

    Raises:
        UnknownNameError: there is none.
        StorageError: it can't be removed.
    """
    everyone = all_environments()
    chosen = [each for each in everyone if name in (each.name, each.name.rpartition("-")[0])]
    if not chosen:
        names = [each.name for each in everyone]
        raise UnknownNameError(
            f"no environment is named '{name}'",
            hint=suggestion(name, names, "'mlms env list'"),
        )
    for each in chosen:
        try:
            _remove(each.folder)
        except OSError as error:
            raise StorageError(
                f"can't remove environment '{each.name}': {error.strerror or error}", place=Place(each.folder)
            ) from error
    return chosen


def _remove(place: Path) -> None:
    with locked(place.with_name(f".{place.name}.lock")):
        leaving = place.with_name(f".{place.name}.leaving")
        if leaving.exists():  # what a removal that was killed has left
            shutil.rmtree(leaving)
        place.rename(leaving)
        shutil.rmtree(leaving)


def _read(path: Path) -> Environment | None:
    try:
        return read(path)
    except (OSError, ValueError):
        return None
