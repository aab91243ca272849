"""What the tests of a plugin run: each rule that mlms has for a kind of component, as pytest's test methods.

A test module imports the contract of its kind, derives a class whose name begins with ``Test`` from it, and says in its
attributes what is tested. This is the one package of mlms that needs pytest.
"""

import pytest

_MODULES = ("components", "datasets", "frameworks", "metrics", "processors", "profilers", "rules", "served_digits")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from mlms.testing.datasets import DatasetContract  # noqa: E402
from mlms.testing.frameworks import FrameworkContract  # noqa: E402
from mlms.testing.metrics import MetricContract  # noqa: E402
from mlms.testing.processors import ProcessorContract  # noqa: E402
from mlms.testing.profilers import ProfilerContract  # noqa: E402

__all__ = ["DatasetContract", "FrameworkContract", "MetricContract", "ProcessorContract", "ProfilerContract"]
