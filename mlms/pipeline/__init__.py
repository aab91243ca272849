"""The way of a sample to the predictor and of its output back: stages, preparation ahead of time, batches."""
