"""The one thing pyproject.toml cannot say: the C core, built for every Python from 3.10 on (abi3), on Linux only."""

import sys

from setuptools import setup

setup(
    # CUPTI's activity API is used on Linux; elsewhere the package installs without its core and says so.
    cffi_modules=["build_core.py:ffi"] if sys.platform == "linux" else [],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
