"""TensorFlow's two pools of threads, which are the process's and set before its first operation."""

import tensorflow as tf


def set_threads(intra, inter):
    """``intra`` threads compute within an operation, ``inter`` operations run at once; None is TensorFlow's default.

    Where only ``intra`` is given, no more operations than that run at once.
    """
    inter = intra if inter is None else inter
    pools = tf.config.threading
    try:
        if intra is not None and pools.get_intra_op_parallelism_threads() != intra:
            pools.set_intra_op_parallelism_threads(intra)
        if inter is not None and pools.get_inter_op_parallelism_threads() != inter:
            pools.set_inter_op_parallelism_threads(inter)
    except RuntimeError as error:
        raise ValueError(
            f"TensorFlow is in use in this process already and can't change to {intra or inter} threads",
            "give the framework asset an environment with isolation: venv, whose worker is new for each evaluation",
        ) from error
