"""`python -m dmtc`, the same as the command `dmtc`."""

from dmtc.cli.main import main

if __name__ == "__main__":
    main()
