"""`python -m mmp` is `mmp`."""

from mmp.cli.main import main

main()
