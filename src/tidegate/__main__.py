"""`python -m tidegate`, the same as the command `tidegate`."""

import sys

from tidegate.cli import main

sys.exit(main())
