"""``python -m mlms``."""

from mlms.cli import main

if __name__ == "__main__":
    main()
