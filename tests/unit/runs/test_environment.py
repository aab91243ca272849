import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlms.errors import Place
from mlms.manifests.schema import problems_in
from mlms.runs.environment import cpu_quota, describe_environment, git_state, gpus, variables


def test_the_description_fits_the_record() -> None:
    described = describe_environment(["numpy", "not-a-package"])
    assert described["packages"] == {"numpy": metadata.version("numpy")}
    assert described["memory_bytes"] > 0
    assert described["cpu"]["model"]
    json.dumps(described, allow_nan=False)
    found = problems_in({"kind": "run", "environment": described}, lambda pointer, key: Place("run.json"), "run")
    assert [problem for problem in found if problem.path.startswith("environment")] == []


def test_the_fingerprint_depends_on_packages_and_not_on_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    first = describe_environment(["numpy"])
    monkeypatch.setenv("MLMS_RUNS", "elsewhere")
    assert describe_environment(["numpy"])["fingerprint"] == first["fingerprint"]
    assert describe_environment(["numpy", "polars"])["fingerprint"] != first["fingerprint"]


def test_only_variables_of_the_list_and_no_secrets() -> None:
    given = {
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "MLMS_MIRROR": "https://me:hush@mirror.example/base?x=1",
        "MLMS_API_TOKEN": "hush",
        "MLMS_PASSWORD": "hush",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "HOME": "/home/me",
        "TORCH_HOME": "/home/me/torch",
    }
    assert variables(given) == {
        "CUDA_VISIBLE_DEVICES": "0",
        "MLMS_MIRROR": "https://mirror.example/base?x=…",
        "OMP_NUM_THREADS": "2",
    }


def test_gpus_are_read_from_nvidia_s_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A, B, 81559, 570.1'\necho 'Other, [N/A], 570.1'\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus() == [
        {"name": "NVIDIA A, B", "memory_bytes": 81559 * 2**20, "driver": "570.1"},
        {"name": "Other", "memory_bytes": None, "driver": "570.1"},
    ]
    program.write_text("#!/bin/sh\necho 'no devices were found' >&2; exit 6\n", "utf-8")
    assert gpus() == []


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/x\n0::/a/b\n", "utf-8")
    root = tmp_path / "groups"
    (root / "a" / "b").mkdir(parents=True)
    assert cpu_quota(root, membership) is None
    (root / "a" / "cpu.max").write_text("150000 100000\n", "utf-8")
    (root / "a" / "b" / "cpu.max").write_text("max 100000\n", "utf-8")
    assert cpu_quota(root, membership) == 1.5
    assert cpu_quota(root, tmp_path / "none") is None


def test_the_state_of_a_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_state(tmp_path) is None  # no commit yet
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("a", "utf-8")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_state(manifest) == {"commit": commit, "dirty": False}
    manifest.write_text("b", "utf-8")
    assert git_state(manifest) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(__file__)) is None


def test_no_framework_is_imported() -> None:
    program = (
        "import sys; from mlms.runs.environment import describe_environment; describe_environment(['torch'])\n"
        "import mlms.runs.store\n"
        "assert not {'torch', 'polars', 'jsonschema', 'rich', 'opentelemetry', 'grpc'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
