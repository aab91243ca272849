"""Where the time of a prediction goes, from the model down to each kernel: those of XSP (arXiv 1908.06869) and more.

Each module holds one group of them as functions from a ``Trace`` to a polars frame; ``catalogue`` names them all.
"""
