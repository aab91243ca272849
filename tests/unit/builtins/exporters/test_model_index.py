from pathlib import Path

import pytest
import yaml

from fakes.exported import FAILED, changed, exported, opened
from mlms.errors import InputError


def test_a_model_with_a_result_a_run(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a"), opened(tmp_path, "b", **changed("model", name="other")), opened(tmp_path, "c")]
    index = yaml.safe_load(exported("model-index", *runs, dataset="org/digits", split="test"))["model-index"]
    assert [(entry["name"], len(entry["results"])) for entry in index] == [("digits-cnn", 2), ("other", 1)]
    assert index[0]["results"][0] == {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": "org/digits", "name": "digits-test", "split": "test"},
        "metrics": [
            {"type": "accuracy", "value": 98.8889, "name": "top1 (%)", "verified": False},
            {"type": "top5", "value": 100.0, "name": "top5 (%)", "verified": False},
        ],
    }


def test_a_run_without_accuracy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reports no accuracy"):
        exported("model-index", opened(tmp_path, **FAILED))
