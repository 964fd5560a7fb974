"""`python -m haymaker` is `haymaker`."""

from haymaker.cli import main

if __name__ == "__main__":
    main()
