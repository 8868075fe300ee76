"""`python -m oriole` is `oriole`."""

import sys

from oriole.cli import main

sys.exit(main())
