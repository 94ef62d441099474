"""`fedrec`: one thin subcommand for each stage of the study.

The workflow calls these; each one can be run by hand too. Modules that only one stage needs are
imported there, because every job pays for what is imported before.
"""

import argparse
import re
import sys

from fedrec import __version__
from fedrec.cli import analysis, benchmark, data, pictures, training
from fedrec.cli.arguments import Help
from fedrec.errors import CommandError


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; whatever stops it gives one message and an exit code.

    1: a mistake of the user's, or something that the machine lacks; 3: training diverged, and is
    recorded so; 75: interrupted, and the same command goes on where this one ended.
    """
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except CommandError as error:
        return _stopped(args.command, str(error), error.exit_code)
    except (RuntimeError, OSError, MemoryError) as error:
        return _stopped(args.command, _explained(error), 1)
    return 0


def _stopped(command: str, message: str, code: int) -> int:
    print(f"fedrec {command}: {message}", file=sys.stderr)
    return code


def _explained(error: Exception) -> str:
    """An error's message; PyTorch and NumPy say in different ways that memory is used up."""
    text = str(error)
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        first = text.partition("\n")[0] or "no more to be had"
        return f"out of memory ({first}): give the job more (`mem_mb` in the profile)"
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="fedrec", description=__doc__, formatter_class=Help)
    top.add_argument("--version", action="version", version=f"fedrec {__version__}")
    stages = top.add_subparsers(dest="command", required=True, metavar="STAGE")
    for module in (data, training, pictures, analysis, benchmark):
        module.add_to(stages)
    return top


if __name__ == "__main__":
    sys.exit(main())
