"""`python -m dnsproxy`."""

from __future__ import annotations

import sys

from dnsproxy.cli import main

sys.exit(main())
