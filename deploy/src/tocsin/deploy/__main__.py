"""`python -m tocsin.deploy`: the command, where it is not on the PATH."""

from tocsin.deploy.cli import main

main()
