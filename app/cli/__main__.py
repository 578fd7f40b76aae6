"""`python -m app.cli` is `modeldepot`."""

from app.cli.main import main

if __name__ == "__main__":
    main()
