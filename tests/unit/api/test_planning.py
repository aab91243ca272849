"""Manifests handed over as mappings."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlms
from mlms.errors import DocumentError, InputError


def test_a_mapping_can_only_be_a_manifest() -> None:
    plan = mlms.plan({"model": "digits-cnn", "dataset": "digits-test"})
    assert [evaluation.name for evaluation in plan.evaluations] == ["digits-cnn"]
    named = mlms.plan(
        {"kind": "manifest", "schema_version": 1, "name": "x", "model": "digits-cnn", "dataset": "synthetic"}
    )
    assert named.name == "x"
    with pytest.raises(DocumentError, match="this is a model, not a manifest"):
        mlms.plan({"kind": "model", "name": "x"})


def test_a_mapping_may_hold_paths_and_tuples_and_nothing_that_yaml_has_not(tmp_path: Path) -> None:
    data = {"name": "digits-test", "path": tmp_path / "test.npz"}
    (evaluation,) = mlms.plan({"model": "digits-cnn", "dataset": data, "metrics": ("top1",)}).evaluations
    assert evaluation.dataset.path == tmp_path / "test.npz"
    with pytest.raises(InputError, match="is a set, which a manifest can't hold"):
        mlms.plan({"models": {"digits-cnn"}, "dataset": "digits-test"})
