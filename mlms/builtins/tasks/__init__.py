"""Tasks that ship with mlms."""

from mlms.builtins.tasks import image_classification
from mlms.hooks import Component, Task

COMPONENTS: tuple[Component[Task], ...] = (image_classification.COMPONENT,)
