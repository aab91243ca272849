"""Frameworks whose plugins give a serving module: run in this process, or in a worker in an environment of its own."""
