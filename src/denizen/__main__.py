"""`python -m denizen` is the `denizen` command."""

from denizen.cli import main

main()
