"""``python -m ginkgo`` is the command ``ginkgo``."""

import sys

from .cli.main import main

sys.exit(main())
