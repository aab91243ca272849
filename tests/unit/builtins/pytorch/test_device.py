from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlms.errors import DeviceError

torch = pytest.importorskip("torch")
from mlms.builtins.pytorch.device import resolve  # noqa: E402 (after importorskip)

GPUS = torch.cuda.device_count()


def test_cpu_is_always_there() -> None:
    assert resolve("cpu") == torch.device("cpu")


def test_auto_prefers_a_gpu() -> None:
    assert resolve("auto") == torch.device("cuda", 0) if GPUS else torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", "cuda:0\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="there is no device") as caught:
        resolve(name)
    assert '"cuda:N"' in str(caught.value.hint)


def test_a_build_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(DeviceError, match="built without CUDA") as caught:
        resolve("cuda")
    assert "CUDA build" in str(caught.value.hint)


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this PyTorch is built without CUDA")
def test_a_machine_without_a_gpu_says_so() -> None:
    # In a process of its own: CUDA reads the variable once.
    code = "from mlms.builtins.pytorch.device import resolve\nresolve('cuda:1')"
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "DeviceError: device 'cuda:1': " in done.stderr
    assert "nvidia-smi" in done.stderr
    assert "use device cpu" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not GPUS, reason="needs a GPU")
def test_an_index_out_of_range_names_what_is_there() -> None:
    with pytest.raises(DeviceError, match="this machine has cuda:0") as caught:
        resolve(f"cuda:{GPUS}")
    assert "auto" in str(caught.value.hint)
    assert resolve(f"cuda:{GPUS - 1}") == torch.device("cuda", GPUS - 1)
    assert resolve("cuda") == torch.device("cuda", 0)
