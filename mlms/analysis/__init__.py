"""Figures computed from recorded measurements."""
