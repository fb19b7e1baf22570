"""``python -m klineagg`` is the command ``klineagg``."""

from __future__ import annotations

import sys

from klineagg.cli import main

if __name__ == "__main__":
    sys.exit(main())
