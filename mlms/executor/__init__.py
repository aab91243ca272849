"""From a plan to runs: names become live objects here and not before."""
