"""``python -m tenth.cli``: the command line without its console entry."""

import sys

from tenth.cli import main

sys.exit(main())
