"""Metrics that ship with mlms."""

from mlms.builtins.metrics import classification
from mlms.hooks import Component, Metric

COMPONENTS: tuple[Component[Metric], ...] = classification.COMPONENTS
