"""``python -m damgan_cli`` is ``damgan``."""

from damgan_cli.cli import main

if __name__ == "__main__":
    main()
