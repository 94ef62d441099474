"""The errors that end a command. Each has a message for the user and an exit code."""

from typing import ClassVar


class CommandError(Exception):
    """An error that ends a command. The message says what is wrong, where, and how to fix it."""

    exit_code: ClassVar[int] = 1


class ConfigError(CommandError):
    """The configuration is wrong. The message says where, and what to write instead."""


class DataError(CommandError):
    """The data cannot be used. The message names the file or the numbers, and the remedy."""


class RecordError(CommandError):
    """A record cannot be used. The message names the file and the remedy."""


class Diverged(CommandError):
    """Training diverged, and the record says so. The message names the record and the round."""

    exit_code = 3


class Interrupted(CommandError):
    """A run was stopped on request, and nothing is lost. The message says how to resume it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes where this one ended
