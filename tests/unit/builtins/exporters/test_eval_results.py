from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.exported import EVALUATION, FAILED, changed, exported, opened
from mlms.errors import InputError


def entries(text: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(text)
    assert isinstance(found, list)
    return found


def test_an_entry_has_what_the_format_requires_and_no_more(tmp_path: Path) -> None:
    options = {"dataset": "org/digits", "task_id": "test", "revision": "5503434", "source": "https://example.org/run"}
    (entry,) = entries(exported("huggingface", opened(tmp_path), **options))
    assert set(entry) == {"dataset", "value", "date", "source", "notes"}
    assert entry["dataset"] == {"id": "org/digits", "task_id": "test", "revision": "5503434"}
    assert entry["value"] == 98.8889
    assert entry["source"] == {"url": "https://example.org/run", "name": "mlms run"}
    assert datetime.fromisoformat(entry["date"].replace("Z", "+00:00")).year == 2026  # text, as the format wants it
    assert "top1, 450 of 450 samples, torch 2.15.0, float32, mlms 0.1.0 run" in entry["notes"]


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_homepage_can_name_the_benchmark(ending: str, tmp_path: Path) -> None:
    dataset = {**EVALUATION["dataset"], "homepage": f"https://huggingface.co/datasets/org/digits.v2{ending}"}
    (entry,) = entries(exported("huggingface", opened(tmp_path, evaluation={**EVALUATION, "dataset": dataset})))
    assert entry["dataset"] == {"id": "org/digits.v2", "task_id": "default"}


def test_a_metric_is_chosen_by_name(tmp_path: Path) -> None:
    (entry,) = entries(exported("huggingface", opened(tmp_path), dataset="a/b", metric="top5"))
    assert entry["value"] == 100.0
    with pytest.raises(InputError, match="no metric 'f1'") as caught:
        exported("huggingface", opened(tmp_path), dataset="a/b", metric="f1")
    assert caught.value.hint == "it has top1, top5"


def test_what_the_format_can_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none is known for dataset 'digits-test'"):
        exported("huggingface", opened(tmp_path))
    with pytest.raises(InputError, match="reports no accuracy: the run failed"):
        exported("huggingface", opened(tmp_path, **FAILED), dataset="a/b")
    other = opened(tmp_path, "other", **changed("model", name="other"))
    with pytest.raises(InputError, match="2 models: digits-cnn, other"):
        exported("huggingface", opened(tmp_path), other, dataset="a/b")
