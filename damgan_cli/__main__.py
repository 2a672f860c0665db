"""``damgan``, and ``python -m damgan_cli``."""

from __future__ import annotations

import sys

from damgan_cli.errors import ExitCode, failure_document


def main() -> None:
    """Import and run the command line; an early Ctrl-C meets the imports, and is no traceback either."""
    try:
        from damgan_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        if document := failure_document(sys.argv[1:], ExitCode.INTERRUPTED, "interrupted"):
            print(document, end="")
        print("interrupted", file=sys.stderr)  # print, as a stream that is closed is None
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
