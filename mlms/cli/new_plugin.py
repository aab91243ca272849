"""Whole packages for ``mlms plugin new``: they install, pass their own tests, and say what to change.

Below ``templates/plugin`` there is a folder for each kind, and ``common``. Files lie as in the package that is made:
what is at the top of a folder goes into the Python package, but for those in ``AT_TOP``; ``NAME`` is the plugin's.
Imported lazily; jinja2 is imported when a package is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mlms.errors import InputError

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
SUFFIX = ".jinja"
AT_TOP = ("pyproject.toml", "README.md", "tests")
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

SUMMARIES: Mapping[str, str] = {
    "framework": "Linear models in NumPy.",
    "processor": "Numbers limited to a range.",
    "metric": "Mean reciprocal rank of the right class.",
    "profiler": "The system's load average.",
    "dataset": "Samples of a JSON file.",
}
"""Kinds, and what the plugin that is made does until it is changed."""


def distribution_of(name: str) -> str:
    """The name of the package on PyPI, and of its folder.

    Raises:
        InputError: ``name`` can't be a plugin's name.

    >>> distribution_of("my_runtime")
    'mlms-my-runtime'
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"'{name}' can't be a plugin's name",
            hint="use small letters and digits, with '-' between words, and begin with a letter",
        )
    if name.startswith("mlms"):
        raise InputError(f"'{name}' begins with mlms, which is put before it anyway", hint="leave it out")
    return f"mlms-{name.replace('_', '-')}"


def package_files(name: str, kind: str) -> dict[str, str]:
    """The files of the package by their paths in it.

    Raises:
        InputError: ``name`` can't be a plugin's name.
    """
    import jinja2

    words = {
        "name": name,
        "distribution": distribution_of(name),
        "package": f"mlms_{name.replace('-', '_')}",
        "class": "".join(word.capitalize() for word in re.split("[-_]", name)),
        "kind": kind,
        "summary": SUMMARIES[kind],
    }
    templates = jinja2.Environment(
        autoescape=False,  # no HTML is made
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    files = {}
    for folder in (TEMPLATES / "common", TEMPLATES / kind):
        for template in sorted(folder.rglob(f"*{SUFFIX}")):
            path = PurePosixPath(template.relative_to(folder).as_posix().removesuffix(SUFFIX))
            place = path if path.parts[0] in AT_TOP else words["package"] / path
            made = templates.from_string(template.read_text("utf-8")).render(words)
            files[str(place).replace("NAME", name)] = made
    return files
