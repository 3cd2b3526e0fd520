#!/usr/bin/env python3
"""The door to Wharfie: ``serve``, ``wharfie`` (the command line), ``web``, ``setup_link`` and Django's own commands."""

import gc
import os
import sys


def main(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    # The supervisor must stay small and the command line quick: neither ever imports Django.
    match argv[1:2]:
        case ["serve"]:
            from console.supervisor import main as serve

            return serve(argv[2:]) or 0
        case ["wharfie"]:
            from console.commandline import main as wharfie

            return wharfie(argv[2:]) or 0
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    gc.disable()  # what is imported stays: to look for garbage in it takes a third of the start
    import django
    from django.core.management import execute_from_command_line

    if not any(word.startswith(("--settings", "--pythonpath")) for word in argv):  # else Django has yet to read them
        django.setup()
        gc.freeze()
    gc.enable()
    execute_from_command_line(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
