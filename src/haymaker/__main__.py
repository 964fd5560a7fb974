"""`python -m haymaker` is `haymaker`."""

import sys


def main() -> None:
    """Entry point of the `haymaker` command, also where Ctrl-C comes before there is one."""
    try:
        from haymaker import cli

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("haymaker: interrupted before it began\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
