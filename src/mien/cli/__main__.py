"""`python -m mien.cli` runs `mien`."""

from mien.cli import main

main()
