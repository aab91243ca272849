"""Load patterns, driven by MLPerf LoadGen."""
