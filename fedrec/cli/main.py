"""`fedrec`: one thin subcommand for each stage of the study.

The workflow calls these; each one can be run by hand too. Modules that only one stage needs are
imported there, because every job pays for what is imported before.
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
    data,
    judging,
    listing,
    pictures,
    running,
    studies,
    training,
)
from fedrec.cli.arguments import Help, add_stage
from fedrec.errors import CommandError
from fedrec.yaml_files import nearest_name


class Parser(argparse.ArgumentParser):
    """Answers a word that is no choice with the nearest choice, not with all of them."""

    def error(self, message: str) -> NoReturn:
        """End with the message, in one line, and with code 2."""
        wrong = re.match(r"(.*invalid choice: '([^']*)') \(choose from (.*)\)$", message)
        if wrong:
            known = re.findall(r"[\w@.+-]+", wrong[3])
            message = f"{wrong[1]}{nearest_name(wrong[2], known)}"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


SHELLS = ("bash", "zsh", "tcsh")
ABOUT = "Poisoning of federated recommenders, and defences: run, look up, compare, reproduce."
EPILOG = """\
The first commands answer a question. Those from `download` on are stages that the workflow calls,
and can be run by hand too. `fedrec COMMAND --help` has examples of each. To begin with:

  fedrec list attacks                                 what there is
  fedrec run ml-1m/MF/ClusterAttack                   one cell, from nothing to its metrics
  fedrec claim attack-mf                              one of the paper's claims
  fedrec new plays --data plays.csv                   a study of your own data

exit codes:
  0   done
  1   something is wrong with what was given, or missing; the message says what to do
  2   the command line cannot be understood
  3   training diverged; the record says so
  75  interrupted; the same command goes on where this one ended
"""
# How PyTorch, CUDA and cuBLAS say it.
CARD_IS_FULL = "CUDA.*out of memory|CUBLAS_STATUS_ALLOC_FAILED"
LESS_ON_THE_CARD = (
    "have fewer jobs share a card (`--resources gpu=N` with profiles/gpu), give the job a larger "
    "card, or run it with `--device cpu`"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; whatever stops it gives one message and an exit code (see `EPILOG`)."""
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except CommandError as error:
        return _stopped(args.command, str(error), error.exit_code)
    except BrokenPipeError:  # whoever read the output, such as `head`, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RuntimeError, OSError, MemoryError) as error:
        return _stopped(args.command, _explained(error), 1)
    return 0


def _stopped(command: str, message: str, code: int) -> int:
    print(f"fedrec {command}: {message}", file=sys.stderr)
    return code


def _explained(error: Exception) -> str:
    """An error's message; PyTorch and NumPy say in different ways that memory is used up."""
    text = str(error)
    if re.search(CARD_IS_FULL, text):
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", text)
        more = f" ({asked[1]} more were asked for)" if asked else ""
        return f"out of memory on the GPU{more}: {LESS_ON_THE_CARD}"
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        first = text.partition("\n")[0] or "no more to be had"
        return f"out of memory ({first}): give the job more (`mem_mb` in the profile)"
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(prog="fedrec", description=ABOUT, epilog=EPILOG, formatter_class=Help)
    top.add_argument("--version", action="version", version=f"fedrec {__version__}")
    stages = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (
        running,
        studies,
        listing,
        judging,
        data,
        training,
        pictures,
        analysis,
        benchmark,
    ):
        module.add_to(stages)
    sub = add_stage(stages, "completion", completion)
    sub.add_argument("shell", choices=SHELLS)
    return top


def completion(args: argparse.Namespace) -> None:
    """Print a script that completes commands and options in a shell.

    For example

      eval "$(fedrec completion bash)"                    # in ~/.bashrc
      fedrec completion zsh > ~/.zfunc/_fedrec            # a folder in $fpath
    """
    import shtab

    print(shtab.complete(parser(), shell=args.shell))


if __name__ == "__main__":
    sys.exit(main())
