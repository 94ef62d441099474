"""The `fedrec` command: one thin subcommand for each stage of the study.

The workflow calls the subcommands, and each can be run by hand. Modules that only one stage needs
are imported inside that stage, because every job pays for the imports of this module.
"""

import argparse
import os
import re
import sys
from typing import NoReturn

from fedrec import __version__
from fedrec.cli import (
    analysis,
    benchmark,
    claim,
    compare,
    data,
    listing,
    pictures,
    running,
    status,
    studies,
    traces,
    training,
    tune,
)
from fedrec.cli.arguments import Help, add_stage
from fedrec.errors import CommandError
from fedrec.yaml_files import nearest_name


class Parser(argparse.ArgumentParser):
    """An argument parser that answers an invalid choice with the nearest valid one."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line, and exit with code 2."""
        wrong = re.match(r"(.*invalid choice: '([^']*)') \(choose from (.*)\)$", message)
        if wrong:
            known = re.findall(r"[\w@.+-]+", wrong[3])
            message = f"{wrong[1]}{nearest_name(wrong[2], known)}"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


SHELLS = ("bash", "zsh", "tcsh")
ABOUT = "Run, look up, compare and reproduce attacks on federated recommenders, and defences."
EPILOG = """\
The first commands answer questions. The workflow calls the commands from `download` on; they can
also be run by hand. `fedrec COMMAND --help` shows examples of each. To begin with:

  fedrec list attacks                                 the attacks by name
  fedrec run ml-1m/MF/ClusterAttack                   train one cell, and print its metrics
  fedrec claim attack-mf                              one of the paper's claims
  fedrec new plays --data plays.csv                   a study of your own data

exit codes:
  0   success
  1   an input is wrong or missing; the message says what to do
  2   the command line cannot be parsed
  3   training diverged; the record says so
  75  interrupted; the same command resumes the work
"""
# The messages of PyTorch, CUDA and cuBLAS.
# How PyTorch, CUDA and cuBLAS say it.
CARD_IS_FULL = "CUDA.*out of memory|CUBLAS_STATUS_ALLOC_FAILED"
LESS_ON_THE_CARD = (
    "have fewer jobs share a card (`--resources gpu=N` with profiles/gpu), give the job a larger "
    "card, or run it with `--device cpu`"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; an error prints one message and sets the exit code (see `EPILOG`)."""
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except CommandError as error:
        return _stopped(args.command, str(error), error.exit_code)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RuntimeError, OSError, MemoryError) as error:
        return _stopped(args.command, _explained(error), 1)
    return 0


def _stopped(command: str, message: str, code: int) -> int:
    print(f"fedrec {command}: {message}", file=sys.stderr)
    return code


def _explained(error: Exception) -> str:
    """Return an error's message; PyTorch and NumPy report exhausted memory in different ways."""
    text = str(error)
    if re.search(CARD_IS_FULL, text):
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", text)
        more = f" (PyTorch tried to allocate {asked[1]})" if asked else ""
        return f"out of memory on the GPU{more}: {LESS_ON_THE_CARD}"
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        first = text.partition("\n")[0] or "no memory is left"
        return f"out of memory ({first}): give the job more (`mem_mb` in the profile)"
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = Parser(prog="fedrec", description=ABOUT, epilog=EPILOG, formatter_class=Help)
    top.add_argument("--version", action="version", version=f"fedrec {__version__}")
    stages = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (
        running,
        studies,
        listing,
        status,
        claim,
        compare,
        tune,
        data,
        training,
        pictures,
        traces,
        analysis,
        benchmark,
    ):
        module.add_to(stages)
    sub = add_stage(stages, "completion", completion)
    sub.add_argument("shell", choices=SHELLS)
    return top


def completion(args: argparse.Namespace) -> None:
    """Print a script that completes commands and options in a shell.

    For example:

      eval "$(fedrec completion bash)"                    # in ~/.bashrc
      fedrec completion zsh > ~/.zfunc/_fedrec            # a folder in $fpath
    """
    import shtab

    print(shtab.complete(parser(), shell=args.shell))


if __name__ == "__main__":
    sys.exit(main())
