"""Spans: their levels, clock and table, the session that records them, and OTLP export."""
