"""No check of the framework's contract is without teeth: each fault is caught by the check that is there for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fakes.distributions import search_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLUGIN = Path(__file__).parents[1] / "fakes" / "faulty_plugin"
MATRIX = PLUGIN.with_name("served_plugin") / "assets" / "models" / "matrix.npz"

OTHER_COMPONENTS = ("no-summary", "open-options", "unknown-level", "upside-down", "any-device", "lingering")
LAYOUTS = "test_inputs_laid_out_otherwise"
FAULTS = {
    "no-summary": ("test_component", "has no summary"),
    "open-options": ("test_component", "additionalProperties"),
    "unknown-level": ("test_levels_are_known_and_in_order", "mlms doesn't know"),
    "upside-down": ("test_levels_are_known_and_in_order", "from the shallowest down"),
    "no-version": ("test_framework_describes_itself", "must have its version"),
    "odd-facts": ("test_model_describes_itself", "plain values"),
    "no-size": ("test_model_describes_itself", "lacks size_bytes"),
    "no-count": ("test_model_describes_itself", "parameters must be a count"),
    "no-outputs": ("test_an_output_for_each_sample", "gave no outputs"),
    "one-for-all": ("test_an_output_for_each_sample", "1 entries for a batch of 2"),
    "text-outputs": ("test_outputs_are_arrays_of_numbers", "no standard numeric one"),
    "swapped-bytes": ("test_outputs_are_arrays_of_numbers", "in another order"),
    "no-array": ("test_outputs_are_arrays_of_numbers", "must be a NumPy array"),
    "whole-batch": ("test_rows_do_not_depend_on_the_batch", "differ from those of a larger one"),
    "random": ("test_same_answer_twice", "another answer the second time"),
    "one-buffer": ("test_outputs_stay_as_they_were", "changed with the next prediction"),
    "changes-input": ("test_inputs_are_left_alone", "changed its input"),
    "writes": (f"{LAYOUTS}[read-only]", "read-only"),
    "wants-contiguous": (f"{LAYOUTS}[with gaps]", "not contiguous"),
    "one-for-empty": ("test_empty_batch", "1 entries for an empty batch"),
    "any-shape": ("test_wrong_shape_is_an_error", "though it takes"),
    "vague": ("test_wrong_shape_is_an_error", "must name the shape"),
    "reads-bytes": ("test_wrong_dtype_is_cast_or_an_error", "neither cast rightly nor refused"),
    "answers-text": ("test_text_is_an_error", "answered text"),
    "breaks-on-text": ("test_text_is_an_error", "takes right batches no more"),
    "hangs-on-text": ("test_text_is_an_error", "the model hangs"),
    "dies-on-text": ("test_text_is_an_error", "ended the model's process"),
    "any-device": ("test_unknown_device_is_an_error", "the model was loaded"),
    "any-dtype": ("test_unknown_dtype_is_an_error", "the model was loaded"),
    "no-hint": ("test_unknown_dtype_is_an_error", "must have a hint"),
    "another-error": ("test_unknown_dtype_is_an_error", "must raise InputError, not ModelError"),
    "takes-rubbish": ("test_rubbish_for_weights_is_an_error[rubbish]", "the model was loaded"),
    "unnamed-file": ("test_rubbish_for_weights_is_an_error[nothing]", "must name 'rubbish.npz'"),
    "closes-once": ("test_close_twice", "the second close() raised"),
    "keeps-memory": ("test_close_gives_memory_back", "must give memory back"),
    "leaves-worker": ("test_close_gives_memory_back", "outlives close()"),
    "shared-state": ("test_threads_do_not_disturb_each_other", "than one alone"),
    "fewer-flops": ("test_flops", "a larger one has no fewer"),
    "odd-device-memory": ("test_device_memory", "gave 'much'"),
    "not-observable": ("test_levels_are_delivered", "can't be observed"),
    "no-spans": ("test_levels_are_delivered", "has no span of it"),
    "another-clock": ("test_levels_are_delivered", "has no span of it"),
    "another-answer": ("test_levels_are_delivered", "the model answers otherwise"),
    "no-type": ("test_levels_are_delivered", "must have the attribute mlms.layer.type"),
    "lingering": ("test_levels_are_delivered", "after observing"),
    "boastful": ("test_accuracy_is_the_published_one", "but the model asset publishes 99.0000"),
}
ALONE = ("no-summary", "open-options", "no-version", "writes", "vague", "any-device", "no-hint", "no-type")
"""Where all checks are made, and no other one may fail."""


def write(folder: Path, name: str, **document: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(json.dumps({"name": name, **document}))


def write_assets(folder: Path, fault: str) -> None:
    component = fault if fault in OTHER_COMPONENTS else "faulty"
    write(folder / "frameworks", f"on-{fault}", kind="framework", component=component, distribution="numpy")
    write(
        folder / "models",
        fault,
        kind="model",
        task="image_classification",
        framework=f"on-{fault}",
        source={"weights": {"file": "matrix.npz"}},
        input=[{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
        preprocess=[{"reshape": {"shape": [1, 8, 8]}}, {"rescale": {"factor": "1/16"}}],
        postprocess=["softmax", {"top_k": {"k": 5, "labels": "digits"}}],
        published=[{"metric": "top1", "value": 99, "dataset": "digits-test"}] if fault == "boastful" else [],
        options={"fault": fault},
    )


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """What the contract says of each fault: the messages of the failed tests by their names."""
    folder = tmp_path_factory.mktemp("faulty")
    assets = folder / "assets"
    tests = [
        "from mlms.testing import FrameworkContract\n",
        "checks = {name for name in vars(FrameworkContract) if name.startswith('test_')}\n",
    ]
    for fault in ("good", *FAULTS):
        write_assets(assets, fault)
        patience = 1 if fault == "hangs-on-text" else 30
        name = f"Test_{fault.replace('-', '_')}"
        tests += [
            f"class {name}(FrameworkContract):",
            f"    framework, model, patience_s = 'on-{fault}', '{fault}', {patience}\n",
        ]
        if fault != "good" and fault not in ALONE:
            only = FAULTS[fault][0].partition("[")[0]
            tests += [f"for check in checks - {{'{only}'}}:", f"    setattr({name}, check, None)\n"]
    (assets / "models" / "matrix.npz").write_bytes(MATRIX.read_bytes())
    (folder / "test_faulty.py").write_text("\n".join(tests))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "--junitxml=result.xml",
        "test_faulty.py",
    ]
    variables = {"PYTHONPATH": search_path(PLUGIN), "MLMS_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {fault: {} for fault in ("good", *FAULTS)}
    for case in ElementTree.parse(folder / "result.xml").iter("testcase"):
        fault = case.attrib["classname"].rpartition(".Test_")[2].replace("_", "-")
        for outcome in [*case.findall("failure"), *case.findall("error")]:
            found[fault][case.attrib["name"]] = f"{outcome.attrib['message']}\n{outcome.text}"
    return found


def test_a_good_one_passes(failures: Mapping[str, Mapping[str, str]]) -> None:
    assert failures["good"] == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_caught(fault: str, failures: Mapping[str, Mapping[str, str]]) -> None:
    test, message = FAULTS[fault]
    assert test in failures[fault]
    assert message in failures[fault][test]
    if fault in ALONE:
        assert list(failures[fault]) == [test]


def test_every_check_has_a_fault() -> None:
    from mlms.testing import FrameworkContract

    checks = {name for name in vars(FrameworkContract) if name.startswith("test_")}
    assert checks == {test.partition("[")[0] for test, _ in FAULTS.values()}
