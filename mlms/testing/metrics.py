"""The contract of a metric: ``mlms.hooks.Metric``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from mlms import api
from mlms.errors import DataError
from mlms.hooks import Context, Metric
from mlms.testing.components import check_component, make, registered


class MetricContract:
    """Derive a class from it with ``metric``, ``predictions`` and their ``targets``, and what comes of them."""

    metric: ClassVar[str]
    predictions: ClassVar[Sequence[Any]]
    targets: ClassVar[Sequence[Any]]
    expected: ClassVar[float]
    """``compute()`` of all of them."""

    def make(self) -> Metric:
        component = registered("metric", self.metric).component
        found: Metric = make(component, {}, Context(labels=api.load_catalog().labels))
        return found

    def test_component(self) -> None:
        check_component(registered("metric", self.metric).component, self.metric)

    def test_it_has_a_unit(self) -> None:
        made = self.make()
        assert isinstance(made, Metric), "a metric has unit, update() and compute()"
        assert isinstance(made.unit, str), f"the unit must be text such as '%', '' for a bare number: {made.unit!r}"

    def test_figure(self) -> None:
        made = self.make()
        made.update(self.predictions, self.targets)
        value = made.compute()
        assert type(value) is float, f"compute() must give a float, not {value!r}"
        assert value == pytest.approx(self.expected), f"{self.metric} is {value}, expected was {self.expected}"
        assert made.compute() == value, "compute() gives another figure the second time"

    def test_figure_does_not_depend_on_how_predictions_come_in(self) -> None:
        one_by_one = self.make()
        for prediction, target in zip(self.predictions, self.targets, strict=True):
            one_by_one.update([prediction], [target])
        assert one_by_one.compute() == pytest.approx(self.expected), "one prediction at a time gives another figure"

    def test_metrics_share_nothing(self) -> None:
        one, other = self.make(), self.make()
        one.update(self.predictions, self.targets)
        other.update(self.predictions[:1], self.targets[:1])
        assert one.compute() == pytest.approx(self.expected), "what one metric was given changed another's figure"

    def test_no_predictions_are_an_error(self) -> None:
        try:
            value = self.make().compute()
        except Exception as raised:
            assert isinstance(raised, DataError), f"no predictions must raise DataError, not {raised!r}"  # noqa: PT017
        else:
            pytest.fail(f"a metric of no predictions must raise DataError, not give {value!r}")
