"""`python -m actloop` is the command `actloop`."""

from actloop.cli.main import main

if __name__ == "__main__":
    main()
