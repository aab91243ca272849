"""The contract of a dataset reader: ``mlms.hooks.Dataset``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlms import api
from mlms.errors import DataError
from mlms.hooks import Component, Context, Dataset, Sample
from mlms.manifests.types import DatasetAsset, ModelAsset, Step
from mlms.testing.components import check_component, make, registered
from mlms.testing.processors import same


class DatasetContract:
    """Derive a class from it with ``reader``, and ``write_data`` where the reader reads files.

    A test has three samples or more.
    """

    reader: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    labels: ClassVar[Sequence[str] | None] = None
    model: ClassVar[ModelAsset | None] = None
    """For a reader that makes samples in the shape of a model's input."""

    def write_data(self, folder: Path) -> Path | None:
        """Put data into an empty folder; returns what a dataset asset's ``path`` would be, None for no files."""
        return None

    def component(self) -> Component[Dataset]:
        found: Component[Dataset] = registered("reader", self.reader).component
        return found

    def read(self, path: Path | None) -> Dataset:
        labels = None if self.labels is None else tuple(self.labels)
        asset = DatasetAsset(
            "data", "1.0.0", None, task=None, reader=Step(self.reader, self.options), path=path, labels=labels
        )
        context = Context(labels=api.load_catalog().labels, model=self.model, dataset=asset)
        found: Dataset = make(self.component(), self.options, context)
        return found

    def test_component(self) -> None:
        check_component(self.component(), self.reader)

    def test_samples(self, tmp_path: Path) -> None:
        dataset = self.read(self.write_data(tmp_path))
        assert isinstance(dataset, Dataset), "a dataset has a length and gives samples by position"
        samples = [dataset[index] for index in range(len(dataset))]
        assert len(samples) >= 3, f"the test's data have {len(samples)} samples; give three or more"
        assert all(isinstance(sample, Sample) for sample in samples), "dataset[index] must be a Sample"
        ids = {sample.id for sample in samples}
        assert len(ids) == len(samples), "the ids of samples must be unique in the dataset"
        assert all(str(tmp_path) not in sample.id for sample in samples), (
            "the ids of samples must be the same on every machine: relative paths or row numbers, say"
        )

    def test_samples_are_the_same_in_threads(self, tmp_path: Path) -> None:
        path = self.write_data(tmp_path)
        one, again = self.read(path), self.read(path)
        samples = [one[index] for index in range(len(one))]
        with ThreadPoolExecutor(4) as pool:
            for sample, other in zip(samples, pool.map(again.__getitem__, range(len(samples))), strict=True):
                assert sample.id == other.id, "a sample has another id when the dataset is read again, in threads"
                assert same(sample.target, other.target), f"sample '{sample.id}' has another target in a thread"
                assert same(sample.value, other.value), f"sample '{sample.id}' has another value in a thread"

    def test_missing_data_are_an_error_that_names_the_place(self, tmp_path: Path) -> None:
        if self.write_data(tmp_path) is None:
            pytest.skip("the reader reads no files")
        try:
            self.read(tmp_path / "nowhere")
        except Exception as raised:
            error = raised
        else:
            pytest.fail("data that aren't there must raise DataError when the dataset is made")
        assert isinstance(error, DataError), f"missing data must raise DataError, not {type(error).__name__}: {error}"
        assert "nowhere" in str(error), f"the error for missing data must name the place: {error}"
        assert error.hint, f"the error for missing data must have a hint on how to mend it: {error}"
