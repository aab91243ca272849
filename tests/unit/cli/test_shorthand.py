from __future__ import annotations

from pathlib import Path

import pytest

from mlms.cli.shorthand import weights_override
from mlms.manifests.overrides import parse


def test_random_weights() -> None:
    assert parse(weights_override("random")).value == "random"


@pytest.mark.parametrize("name", ["net.safetensors", "with space.pt", 'it\'s {odd}: "x".pt'])
def test_a_file_of_weights_whatever_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    override = parse(weights_override(name))
    assert override.pointer == ("weights",)
    assert override.value == {"file": str(tmp_path / name)}
