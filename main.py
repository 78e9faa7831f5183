"""The older spelling: `APP_ENV=dev python main.py train --recipe-file R` is `mmp train -r R`."""

import sys

from mmp.cli.main import main

if __name__ == "__main__":
    sys.stderr.write("note: `python main.py` is kept for old scripts; the command is `mmp`.\n")
    main()
