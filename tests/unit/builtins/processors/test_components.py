from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from fakes.contexts import accepts, context
from mlms.builtins import metrics, processors, readers, tasks
from mlms.hooks import Component, Processor

COMPONENTS: tuple[Component[object], ...] = (
    *processors.COMPONENTS,
    *readers.COMPONENTS,
    *tasks.COMPONENTS,
    *metrics.COMPONENTS,
)
OPTIONS = {
    "resize": {"size": 2},
    "center_crop": {"size": [2, 3]},
    "rescale": {"factor": "1/255"},
    "normalize": {"mean": [0], "std": [1]},
    "reshape": {"shape": [1]},
    "cast": {"dtype": "float32"},
}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_option_schemas_refuse_unknown_keys(component: Component[object]) -> None:
    assert not accepts(component, {"no-such-option": 1})
    assert component.summary


@pytest.mark.parametrize("component", processors.COMPONENTS, ids=lambda component: component.name)
def test_processors_are_stateless_values(component: Component[Processor]) -> None:
    options = OPTIONS.get(component.name, {})
    assert accepts(component, options)
    processor = component.make(options, context())
    assert isinstance(processor, Processor)
    assert pickle.loads(pickle.dumps(processor)) == processor


def test_registering_imports_nothing_heavy() -> None:
    script = (
        "import sys; from mlms.builtins import metrics, processors, readers, tasks;"
        "print(*{'torch', 'PIL', 'torchmetrics', 'safetensors', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
