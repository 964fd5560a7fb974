"""`python -m haymaker` is `haymaker`."""

import signal
import sys


def main() -> None:
    """Entry point of the `haymaker` command, also where a signal comes before there is one."""
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # a scheduler's stop is a Ctrl-C, from the first line on
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        from haymaker import cli

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("haymaker: interrupted before it began\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
