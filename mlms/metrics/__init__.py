"""Scores, and how they stand against published figures."""
