"""Dataset readers that ship with mlms."""

from mlms.builtins.readers import array_file, image_folder, synthetic, table
from mlms.hooks import Component, Dataset

COMPONENTS: tuple[Component[Dataset], ...] = (
    image_folder.COMPONENT,
    array_file.COMPONENT,
    table.COMPONENT,
    synthetic.COMPONENT,
)
