"""`python -m app.cli`: the command `velatura`."""

from app.cli.main import main

main()
