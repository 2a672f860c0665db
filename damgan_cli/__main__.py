"""``damgan``, and ``python -m damgan_cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Import and run the command line; an early Ctrl-C meets the imports, and is no traceback either."""
    try:
        from damgan_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
