"""Finished evaluations: the record, the run directory, and the store of them."""
