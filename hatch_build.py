"""Build ``mlms/tracing/_events.c`` where that can be done; elsewhere Python does the same at five times the cost."""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

MODULE = "mlms.tracing._events"
SOURCE = "mlms/tracing/_events.c"


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the extension beside its source, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if (
            self.target_name != "wheel"
            or not sys.platform.startswith("linux")
            or sysconfig.get_config_var("Py_GIL_DISABLED")
        ):
            return
        from setuptools.errors import CCompilerError, ExecError, PlatformError

        try:
            build()
        except (CCompilerError, ExecError, PlatformError) as error:
            self.app.display_warning(f"mlms records spans in Python, as {SOURCE} could not be built: {error}")
            return
        build_data["artifacts"].append("mlms/tracing/_events.abi3.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp310-abi3-{next(platform_tags())}"


def build() -> None:
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension(MODULE, [SOURCE], py_limited_api=True, extra_compile_args=["-O2"])
    command = build_ext(Distribution({"name": "mlms", "ext_modules": [extension]}))
    command.inplace = True
    with tempfile.TemporaryDirectory() as folder:
        command.build_temp = folder
        command.ensure_finalized()
        command.run()
