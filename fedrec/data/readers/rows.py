"""The rows of a table: checks of their values, and conversion to interactions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from fedrec.data.interactions import Interactions, as_labels
from fedrec.data.readers.duck import Database, text
from fedrec.data.readers.fields import REMEDY, shortened
from fedrec.data.readers.times import MICROSECONDS, YEAR_10000, finer, microseconds, zoned
from fedrec.errors import DataError

Column = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]

# The texts that databases and data frames write for missing values.
MISSING = ("NULL", "null", "None", "\\N", "NA", "N/A", "<NA>", "nan", "NaN", "undefined")

_WORDS = f"({', '.join(map(text, MISSING))})"
_LETTERS = {"user": "u", "item": "i", "time": "t", "rating": "r"}
_WHICH_ZONE = "write the missing zones into the file"
_NUMBER = "TRY_CAST(r AS DOUBLE)"
_YEAR = 365 * 86_400 * 10**6  # microseconds
# Times of 1990 to 2100 that were read in too fine a unit, such as seconds read as milliseconds:
# they would be in 1970.
_OTHER_UNIT = f"us < {_YEAR} AND (" + " OR ".join(
    f"us BETWEEN {20 * _YEAR // factor} AND {130 * _YEAR // factor}"
    for factor in (10**3, 10**6, 10**9)
) + ")"  # fmt: skip


class Problem(NamedTuple):
    """A possible fault of rows: its SQL condition, the value to show, and the words around it."""

    condition: str
    value: str
    before: str
    after: str = ""
    remedy: str = REMEDY
    table: str = "rows"


@dataclass(frozen=True)
class Meaning:
    """The meaning of a table's columns, and which rows are left out."""

    user: Column
    """The column of the user's label: its number, from 0, or its name."""
    item: Column
    """The column of the item's label: its number, from 0, or its name."""
    time: Column | None = None
    """The column of the time, by number or name; none if `time_format` is `order`."""
    clock: Column | None = None
    """The column of the time of day, if the column `time` has only the date."""
    time_format: str = "unix"
    """`unix`, `unix_ms`, `unix_us` or `unix_ns`: seconds, milli-, micro- or nanoseconds since
    1970-01-01 UTC, with or without a fraction. `iso8601`. A pattern, such as `%d/%m/%Y %H:%M:%S`.
    `order`: there are no times, and the rows are in time order."""
    time_zone: str = "UTC"
    """The time zone of times that name none, such as Europe/Berlin."""
    rating: Column | None = None
    """The column of a rating, by number or name; only needed for `min_rating`."""
    min_rating: float | None = None
    """The lowest rating of an interaction that is kept."""
    numeric_ids: bool = False
    """Whether users and items must be whole numbers; otherwise any text is accepted."""
    missing_ids: Literal["refuse", "drop", "keep"] = "refuse"
    """What to do with rows whose user or item is NULL, None, \\N, NA or the like."""

    @property
    def columns(self) -> dict[str, int | str]:
        """The columns to read."""
        wanted = ("user", "item", "time", "clock", "rating")
        return {what: getattr(self, what) for what in wanted if getattr(self, what) is not None}

    def create(self, fields: Mapping[str, str], fault: str, source: str) -> str:
        """Return SQL that makes a table `rows` of texts `u`, `i`, `t`, `r` and microseconds `us`.

        `fault` is an SQL expression: the text of a row that is malformed as a whole, else NULL.
        """
        time = " || ' ' || ".join(fields[what] for what in ("time", "clock") if what in fields)
        values = {"u": fields["user"], "i": fields["item"], "t": time, "r": fields.get("rating")}
        texts = (f"CAST({value or 'NULL'} AS VARCHAR) AS {key}" for key, value in values.items())
        us = microseconds(self.time_format, self.time_zone)
        rows = f"SELECT {', '.join(texts)}, {fault} AS fault FROM {source}"
        return f"CREATE TABLE rows AS SELECT *, {us} AS us FROM ({rows})"


@dataclass(frozen=True)
class Rows:
    """The table `rows` of a database, in file order."""

    db: Database
    path: Path
    meaning: Meaning
    place: Callable[[int], str]
    """The name of a row in an error message, given its number from 0."""
    fault: str = ""
    """The description of the fault of malformed rows."""

    def interactions(self) -> Interactions:
        """Check the rows and convert them to interactions.

        Raises:
            DataError: a row is malformed, or there are no rows.
        """
        lowest = self.meaning.min_rating
        if self.meaning.missing_ids == "drop":
            missing = (f"coalesce({c}, '') = '' OR {c} IN {_WORDS}" for c in "ui")
            self._leave_out(" OR ".join(missing))
        if lowest is not None:
            self._leave_out(f"{_NUMBER} < {lowest}")
        for column in "ui":
            self._number(column)
        self._refuse_bad_values()
        if self._one("SELECT count(*) FROM rows"):
            return self._by_user_and_time()
        if lowest is not None:
            raise DataError(f"{self.path}: no rating is {lowest:g} or more: lower `min_rating`")
        raise DataError(f"{self.path}: has no line of data: fetch the file again")

    def _leave_out(self, condition: str) -> None:
        self.db.execute(f"DELETE FROM rows WHERE fault IS NULL AND ({condition})")

    def _number(self, column: str) -> None:
        """Number the labels of a column in the order in which they first appear."""
        self.db.execute(
            f"CREATE TABLE {column}_ids AS SELECT {column} AS {column}, min(rowid) AS row, "
            "CAST(row_number() OVER (ORDER BY min(rowid)) - 1 AS INTEGER) AS id "
            f"FROM rows GROUP BY {column}"
        )

    def _refuse_bad_values(self) -> None:
        bad: list[tuple[int, int, Problem]] = []
        for problem in (*self._of_rows(), *self._of_times(), *self._of_labels()):
            number = "rowid" if problem.table == "rows" else "row"
            query = f"SELECT min({number}) FROM {problem.table} WHERE {problem.condition}"
            if (first := self._one(query)) is not None:
                bad.append((first, len(bad), problem))
        if bad:
            row, _, problem = min(bad)
            value = str(self._one(f"SELECT {problem.value} FROM rows WHERE rowid = {row}"))
            said = f"{problem.before} {shortened(value)} {problem.after}".strip()
            raise DataError(f"{self.path}: {self.place(row)}: {said}: {problem.remedy}")

    def _of_rows(self) -> Iterator[Problem]:
        columns = {what: c for what, c in self.meaning.columns.items() if what != "clock"}
        letters = [f"coalesce({_LETTERS[what]}, '')" for what in columns]
        places = ", ".join(map(str, columns.values()))
        needs = f"needs {', '.join(columns)} in columns {places}, but has"
        yield Problem("fault IS NOT NULL", "fault", "", self.fault)
        yield Problem(
            f"'' IN ({', '.join(letters)})", f"concat_ws(', ', {', '.join(letters)})", needs
        )
        if self.meaning.min_rating is not None:
            infinite = f"NOT coalesce(isfinite({_NUMBER}), false)"
            yield Problem(infinite, "r", "its rating", "is not a number")

    def _of_times(self) -> Iterator[Problem]:
        how = self.meaning.time_format
        if how == "order":
            return
        wrong = partial(Problem, value="t", before="its time")
        yield wrong(finer(how), after="is finer than a microsecond")
        yield wrong("us IS NULL", after=f"is not {how}")
        yield wrong("us < 0", after="is before 1970")
        yield wrong(f"us >= {YEAR_10000}", after="is after 9999 (milliseconds are `unix_ms`)")
        if how in MICROSECONDS:
            mostly = f"(SELECT count(*) < 2 * count(*) FILTER (us > {10 * _YEAR}) FROM rows)"
            unlike = f"is in another unit than most times, which are {how}"
            yield wrong(f"{_OTHER_UNIT} AND {mostly}", after=unlike)
        if how == "iso8601":
            first = f"(SELECT {zoned(how)} FROM rows ORDER BY rowid LIMIT 1)"
            unlike = "differs from the first time in whether it has a zone"
            yield wrong(f"{zoned(how)} <> {first}", after=unlike, remedy=_WHICH_ZONE)

    def _of_labels(self) -> Iterator[Problem]:
        """Yield the possible faults of labels; checked once per label, not once per row."""
        for c, what in (("u", "user"), ("i", "item")):
            wrong = partial(Problem, value=c, before=f"its {what}", table=f"{c}_ids")
            if self.meaning.missing_ids == "refuse":
                advice = "seems to be missing (set `missing_ids: drop` or `missing_ids: keep`)"
                yield wrong(f"{c} IN {_WORDS}", after=advice)
            if self.meaning.numeric_ids:
                demand = "is not a whole number, but `numeric_ids` is set"
                yield wrong(f"NOT regexp_full_match({c}, '-?[0-9]+')", after=demand)

    def _by_user_and_time(self) -> Interactions:
        found = self.db.execute(
            "SELECT u_ids.id AS user, i_ids.id AS item, us FROM rows "
            "JOIN u_ids USING (u) JOIN i_ids USING (i) ORDER BY user, us, rows.rowid"
        ).fetchnumpy()
        user, item, time = (np.asarray(found[key], np.int64) for key in ("user", "item", "us"))
        return Interactions(user, item, time, self._labels("u"), self._labels("i"))

    def _labels(self, column: str) -> np.ndarray:
        labels = self.db.execute(f"SELECT {column} FROM {column}_ids ORDER BY id").fetchnumpy()
        return as_labels(labels[column])

    def _one(self, query: str) -> Any:
        (value,) = self.db.execute(query).fetchone() or (None,)
        return value
