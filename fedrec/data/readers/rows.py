"""The rows that a reader found: which values are refused, and the interactions they are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fedrec.data.interactions import Interactions, as_labels
from fedrec.data.readers.duck import Database, text
from fedrec.data.readers.fields import REMEDY
from fedrec.data.readers.times import (
    MICROSECONDS,
    YEAR_10000,
    finer,
    microseconds,
    zoned,
)
from fedrec.errors import DataError

# What databases and data frames write where there is nothing.
MISSING = ("NULL", "null", "None", "\\N", "NA", "N/A", "<NA>", "nan", "NaN", "undefined")
MissingIds = Literal["refuse", "drop", "keep"]

_WORDS = f"({', '.join(map(text, MISSING))})"
_YEAR = 365 * 86_400 * 10**6  # microseconds
_EARLY, _RECENT, _LATE = 1 * _YEAR, 10 * _YEAR, 130 * _YEAR  # since 1970


@dataclass(frozen=True)
class Rules:
    """What the values of rows mean, and which of them are left out."""

    columns: Mapping[str, object]
    """Where user, item, time and rating stand, those of them that are read."""
    time_format: str
    time_zone: str
    min_rating: float | None
    numeric_ids: bool
    missing_ids: MissingIds


@dataclass(frozen=True)
class Rows:
    """A table `rows` in a database, in the order of the file: texts `u`, `i`, `t` and `r`.

    `fault` says what is wrong with a row as a whole, if anything is.
    """

    db: Database
    path: Path
    rules: Rules
    place: Callable[[int], str]
    """What a row is called in an error, by its number from 0."""

    def interactions(self) -> Interactions:
        """The interactions that the rows are.

        Raises:
            DataError: a row is malformed, or there are none.
        """
        if self.rules.missing_ids == "drop":
            self._leave_out(f"{_is_missing('u')} OR {_is_missing('i')}")
        if self.rules.min_rating is not None:
            self._leave_out(f"{_NUMBER} < {self.rules.min_rating}")
        for column in "ui":
            self.db.execute(
                f"CREATE TABLE {column}_ids AS SELECT {column} AS label, min(rowid) AS first, "
                f"row_number() OVER (ORDER BY min(rowid)) - 1 AS id FROM rows GROUP BY {column}"
            )
        self._refuse_values()
        self._refuse_mixed_zones()
        self._refuse_mixed_units()
        if not self._one("SELECT count(*) FROM rows"):
            raise DataError(f"{self.path}: {self._why_empty()}")
        return self._numbered()

    def _leave_out(self, condition: str) -> None:
        self.db.execute(f"DELETE FROM rows WHERE fault IS NULL AND ({condition})")

    def _why_empty(self) -> str:
        if self.rules.min_rating is not None:
            return f"no rating is {self.rules.min_rating:g} or more: lower `min_rating`"
        return "holds no line of data: fetch the file again"

    def _refuse_values(self) -> None:
        problems = list(self._problems())
        firsts = ", ".join(f"min(row) FILTER ({condition})" for condition, _, _ in problems)
        found = list(self.db.execute(f"SELECT {firsts} FROM ({self._timed})").fetchone())
        for condition, column, words in self._label_problems():
            problems.append((condition, column, words))
            found.append(self._one(f"SELECT min(first) FROM {column}_ids WHERE {condition}"))
        bad = [(row, i) for i, row in enumerate(found) if row is not None]
        if bad:
            row, i = min(bad)
            self._refuse(row, *problems[i][1:])

    def _label_problems(self) -> Iterator[tuple[str, str, str]]:
        """What may be wrong with a label, as `_problems` has it: there are fewer than rows."""
        advice = "seems to be missing (say `missing_ids: drop`, or `keep`)"
        for column, what in (("u", "user"), ("i", "item")):
            if self.rules.missing_ids == "refuse":
                yield f"label IN {_WORDS}", column, f"its {what} {{}} {advice}"
            if self.rules.numeric_ids:
                words = f"its {what} {{}} is no whole number, as `numeric_ids` demands"
                yield "NOT regexp_full_match(label, '-?[0-9]+')", column, words

    def _problems(self) -> Iterator[tuple[str, str | None, str]]:
        """What may be wrong with a row: the condition, the value to show, and the words."""
        rules = self.rules
        columns, places = ", ".join(rules.columns), ", ".join(map(str, rules.columns.values()))
        wanted = [{"user": "u", "item": "i", "time": "t", "rating": "r"}[c] for c in rules.columns]
        lacking = " OR ".join(f"coalesce({column}, '') = ''" for column in wanted)
        yield "fault IS NOT NULL", "fault", ""
        yield lacking, None, f"needs {columns} in columns {places}"
        yield finer(rules.time_format), "t", "its time {} is finer than a microsecond"
        yield "us IS NULL", "t", f"its time {{}} is not {rules.time_format}"
        yield "us < 0", "t", "its time {} is before 1970"
        late = "its time {} is after 9999 (milliseconds are `unix_ms`)"
        yield f"us >= {YEAR_10000}", "t", late
        if rules.min_rating is not None:
            yield f"NOT coalesce(isfinite({_NUMBER}), false)", "r", "its rating {} is not a number"

    @property
    def _timed(self) -> str:
        """The rows with their numbers and times."""
        us = microseconds(self.rules.time_format, self.rules.time_zone)
        return f"SELECT rowid AS row, *, {us} AS us FROM rows"

    def _refuse_mixed_zones(self) -> None:
        named = zoned(self.rules.time_format)
        firsts = "min(rowid) FILTER (z), min(rowid) FILTER (NOT z)"
        first = self.db.execute(f"SELECT {firsts} FROM (SELECT rowid, {named} AS z FROM rows)")
        with_zone, without = first.fetchone() or (None, None)
        if with_zone is not None and without is not None:
            row, other = max(with_zone, without), min(with_zone, without)
            words = (
                "its time {} names a zone, or none, unlike "
                f"{self.place(other)}: with which zone are the times without one to be read? "
                "Write it into the file"
            )
            self._refuse(row, "t", words, remedy=None)

    def _refuse_mixed_units(self) -> None:
        """Seconds among milliseconds would be times in January 1970."""
        if self.rules.time_format not in MICROSECONDS:
            return
        thousandfold = " OR ".join(
            f"us BETWEEN {2 * _RECENT // factor} AND {_LATE // factor}"
            for factor in (1_000, 1_000_000, 1_000_000_000)
        )
        early = f"us < {_EARLY} AND ({thousandfold})"
        row = self._one(f"SELECT min(row) FROM ({self._timed}) WHERE {early}")
        if row is not None and self._one(f"SELECT median(us) FROM ({self._timed})") > _RECENT:
            words = (
                f"its time {{}} is in another unit than most, which are {self.rules.time_format}"
            )
            self._refuse(row, "t", words)

    def _refuse(
        self, row: int, column: str | None, words: str, remedy: str | None = REMEDY
    ) -> None:
        value = self._one(f"SELECT {column} FROM rows WHERE rowid = {row}") if column else None
        said = str(value) if column == "fault" else words.format(repr(_short(value)))
        raise DataError(
            f"{self.path}: {self.place(row)}: {said}" + (f": {remedy}" if remedy else "")
        )

    def _numbered(self) -> Interactions:
        """Ids in the order in which labels first appear; rows by user, time and place."""
        found = self.db.execute(
            f"SELECT u_ids.id AS u, i_ids.id AS i, us FROM ({self._timed}) AS timed "
            "JOIN u_ids ON timed.u = u_ids.label JOIN i_ids ON timed.i = i_ids.label "
            "ORDER BY u, us, row"
        ).fetchnumpy()
        user, item, time = (np.asarray(found[key], dtype=np.int64) for key in ("u", "i", "us"))
        return Interactions(user, item, time, self._labels("u"), self._labels("i"))

    def _labels(self, column: str) -> np.ndarray:
        labels = self.db.execute(f"SELECT label FROM {column}_ids ORDER BY id").fetchnumpy()
        return as_labels(labels["label"])

    def _one(self, query: str) -> Any:
        (value,) = self.db.execute(query).fetchone() or (None,)
        return value


_NUMBER = "TRY_CAST(r AS DOUBLE)"


def _is_missing(column: str) -> str:
    return f"coalesce({column}, '') = '' OR {column} IN {_WORDS}"


def _short(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
