"""The errors that end a command: each has a message for its user, and an exit code."""

from typing import ClassVar


class CommandError(Exception):
    """What ends a command: the message says what is wrong, where, and the remedy."""

    exit_code: ClassVar[int] = 1


class ConfigError(CommandError):
    """The configuration is wrong; the message says where, and what to write instead."""


class DataError(CommandError):
    """Data that cannot be used: the message names the file or the numbers, and the remedy."""


class RecordError(CommandError):
    """A record cannot be used; the message names the file and the remedy."""


class Diverged(CommandError):
    """Training diverged, and its record says so; the message names record and round."""

    exit_code = 3


class Interrupted(CommandError):
    """A run ended early on request, and nothing is lost; the message says how to go on."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on where this one ended
