"""Detection of the user, item and time columns of a table, by the conventions of the field."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fedrec.data.readers.duck import Database, session
from fedrec.data.readers.rows import MISSING
from fedrec.data.readers.times import MICROSECONDS, microseconds
from fedrec.errors import DataError

Column = int | str

# Names in lower case, without punctuation, and without a suffix such as `id`. The second set counts
# only if no column has a name of the first set.
USERS = (
    {"user", "u", "visitor", "customer", "reviewer", "member", "listener", "client", "subscriber"},
    {"session", "sess", "basket", "playlist", "author", "account", "profile", "viewer", "reader"},
)
ITEMS = (
    {
        *("item", "i", "movie", "film", "anime", "manga", "business", "asin", "parentasin", "isbn"),
        *("track", "song", "artist", "venue", "poi", "book", "game", "app", "product", "prod"),
        *("sku", "video", "clip", "news", "article", "recipe", "beer", "joke", "podcast"),
    },
    {"location", "loc", "place", "album", "show", "story", "course", "restaurant", "hotel"},
)
TIMES = {
    *("time", "timestamp", "ts", "t", "datetime", "date", "when", "timems", "timestampms"),
    *("unixreviewtime", "reviewtime", "utctime", "checkintime", "playedat", "createdat"),
    *("eventtime", "unixtime"),
}
TYPED = re.compile(r"([^:]+):(token|float|token_seq|float_seq)$")  # RecBole's atomic files
_SUFFIX = re.compile(r"(?<=.)(id|key|uuid|hash|code|(name))$")
_TIMELY = re.compile(r"time|date|stamp")

DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y")
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
FORMATS = (
    *(*MICROSECONDS, "iso8601", "%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%Y%m%d"),
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z"),
    *("%m %d, %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %b %Y, %H:%M"),
    *(date + clock for date in DATES for clock in CLOCKS),
)
# The range of plausible times, in microseconds. It excludes nine-digit ids (before 1990 if read as
# seconds) and ten-digit dates.
EARLIEST, LATEST = 631_152_000 * 10**6, 1_988_150_400 * 10**6
DAY = 86_400 * 10**6
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?$")
_FRACTION = re.compile(r"-?\d*\.\d+$")


@dataclass(frozen=True)
class Known:
    """The settings that the user has given, so that they need not be guessed."""

    separator: str | None = None
    quote: str = '"'
    header: bool | None = None
    user: Column | None = None
    item: Column | None = None
    time: Column | None = None
    clock: Column | None = None
    time_format: str | None = None
    time_zone: str = "UTC"
    rating: Column | None = None
    min_rating: float | None = None
    missing_ids: Literal["refuse", "drop", "keep"] | None = None
    member: str | None = None
    item_lists: bool = False


class Unsure(DataError):
    """The file leaves a question open. `options` has the options to give, with likely values."""

    def __init__(self, message: str, options: Mapping[str, Column | None]) -> None:
        super().__init__(message)
        self.options = options


@dataclass(frozen=True)
class Sample:
    """The first rows of a table: the values of each column, and the column names if it has any."""

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    @property
    def places(self) -> tuple[Column, ...]:
        """The names of the columns in a config entry, or their numbers if they have no names."""
        return self.names or tuple(range(len(self.columns)))

    def values(self, column: Column) -> tuple[str, ...]:
        """Return the first values of a column, or nothing if it does not exist."""
        place = self.names.index(str(column)) if column in self.names else column
        return self.columns[place] if isinstance(place, int) and place < len(self.columns) else ()

    @cached_property
    def times(self) -> dict[Column, dict[str, list[int]]]:
        """The columns that may be times, with the formats that fit and the times in each format.

        If no column fits in every row, the columns count that fit in at least 60 % of the rows; the
        reader will name the rows that do not fit.
        """
        with session() as db:
            for share in (1.0, 0.6):
                found = {c: fitting(db, self.values(c), FORMATS, share) for c in self.places}
                if any(found.values()):
                    break
        return {column: formats for column, formats in found.items() if formats}

    def moments(self, column: Column) -> list[int]:
        """Return the times in a column, read in its likeliest format."""
        return next(iter(self.times[column].values()))

    def all_match(self, pattern: re.Pattern[str], column: Column) -> bool:
        """Tell whether a column has values and all of them match a pattern."""
        return all(map(pattern.match, self.values(column))) and bool(self.values(column))

    @property
    def clocks(self) -> list[Column]:
        """The columns that have only times of day."""
        return [c for c in self.places if self.all_match(_CLOCK, c)]

    @property
    def labels(self) -> list[Column]:
        """The columns that may be ids: no times, no fractions, more than one value."""
        others = [c for c in self.places if c not in self.times and c not in self.clocks]
        several = [c for c in others if len(set(self.values(c))) > 1]
        return [c for c in several if not any(map(_FRACTION.match, self.values(c)))]


def fitting(
    db: Database, values: Iterable[str], formats: Sequence[str], share: float = 1.0
) -> dict[str, list[int]]:
    """Return the formats in which at least `share` of the values are times, with these times in µs.

    The times must be plausible for a log. The reader's own SQL decides, so that the reader accepts
    what is accepted here. Of several formats with equal results, only the first is returned.
    """
    texts = [value for value in values if value not in ("", *MISSING)]
    if not texts or not all(re.search(r"\d", value) for value in texts[:3]):
        return {}
    columns = ", ".join(f"list({microseconds(f, 'UTC')})" for f in formats)
    lists = db.execute(f"SELECT {columns} FROM (SELECT unnest(?) AS t)", [texts]).fetchone()
    found: dict[str, list[int]] = {}
    for time_format, times in zip(formats, lists, strict=True):
        moments = [t for t in times if t is not None and EARLIEST <= t < LATEST]
        if len(moments) >= max(share * len(texts), 1) and moments not in found.values():
            found[time_format] = moments
    return found


def roles(names: Iterable[str]) -> int:
    """Return how many of the roles user, item and time occur among some names."""
    plain = {_plain(name) for name in names}
    stems = set(map(_stem, names))
    words = ({*USERS[0], *USERS[1]}, {*ITEMS[0], *ITEMS[1]})
    return sum(bool(stems & known) for known in words) + bool(TIMES & plain)


def meanings(sample: Sample, known: Known) -> dict[str, Column | None]:
    """Decide the columns of user, item, time and clock, and the time format, as reader settings.

    Raises:
        Unsure: two interpretations fit, or none.
    """
    if not sample.names:
        _ask_without_names(sample, known)
    time = _time(sample, known)
    clock = _clock(sample, known, time)
    user = known.user if known.user is not None else _named(sample, "user", USERS, [time])
    item = known.item if known.item is not None else _named(sample, "item", ITEMS, [time, user])
    time_format = known.time_format or _format(sample, time, clock)
    columns = {"user": user, "item": item, "time": time, "clock": clock}
    return {**columns, "time_format": time_format}


def _ask_without_names(sample: Sample, known: Known) -> None:
    """Raise a question if a file has no header and the user has not named its columns."""
    given = {"user": known.user, "item": known.item, "time": known.time}
    if known.time_format == "order":
        del given["time"]
    lacking = [what for what, column in given.items() if column is None]
    if not lacking:
        return
    if "time" in lacking and not sample.times and not known.time_format:
        raise _timeless(sample)
    likely = {what: c for what, c in _likely(sample, known).items() if what in lacking}
    told = " ".join(f"--{what} {column}" for what, column in likely.items() if column is not None)
    raise Unsure(
        f"it has no header, so give the column of the {', '.join(lacking)}, counted from 0, with "
        f"{', '.join(f'--{what}' for what in lacking)}{f' (perhaps {told})' if told else ''}; "
        f"{_shown(sample, sample.places)}",
        likely,
    )


def _likely(sample: Sample, known: Known) -> dict[str, Column | None]:
    """Guess columns by content: the user is the first id column.

    The item and the time are the columns with the most distinct values among the other ids and
    among the times.
    """

    def most(columns: Iterable[Column]) -> Column | None:
        return max(columns, key=lambda c: len(set(sample.values(c))), default=None)

    labels = [c for c in sample.labels if c not in (known.user, known.item, known.time)]
    user = known.user if known.user is not None else next(iter(labels), None)
    item = most(column for column in labels if column != user)
    return {"user": user, "item": item, "time": most(sample.times)}


def _time(sample: Sample, known: Known) -> Column | None:
    """Find the time column by its name, if its values are times; the finest of several."""
    if known.time is not None or known.time_format == "order":
        return known.time
    able = [c for c in sample.times if c not in (known.user, known.item) and _type(c) != "token"]
    named = [c for c in able if _plain(c) in TIMES] or [
        c for c in able if _TIMELY.search(_plain(c))
    ]
    if not able:
        raise _timeless(sample)
    if not named:
        raise _several(sample, "time", able)
    finest = min(named, key=lambda c: math.gcd(*sample.moments(c)))
    if not all(_agree(sample, finest, other) for other in named):
        raise _several(sample, "time", named)
    return finest


def _agree(sample: Sample, one: Column, other: Column) -> bool:
    """Tell whether two columns give the same moments, also if one gives only the day."""
    pairs = zip(sample.moments(one), sample.moments(other), strict=False)
    return all(abs(a - b) < 2 * DAY for a, b in pairs)


def _clock(sample: Sample, known: Known, time: Column | None) -> Column | None:
    """Find the column of the time of day, if the time column has only dates."""
    dates = time in sample.times and not math.gcd(*sample.moments(time)) % DAY
    if known.clock is not None or not dates:
        return known.clock
    if len(clocks := sample.clocks) > 1:
        raise _several(sample, "clock", clocks)
    return next(iter(clocks), None)


def _format(sample: Sample, time: Column | None, clock: Column | None) -> str:
    """Find the format of the times.

    Raises:
        Unsure: no known format fits, or two formats fit.
    """
    if time is None:
        return "order"
    found = sample.times.get(time, {})
    if clock is not None:
        joined = map(" ".join, zip(sample.values(time), sample.values(clock), strict=True))
        formats = [f if f == "iso8601" else f + c for f in found for c in CLOCKS[1:]]
        with session() as db:
            found = fitting(db, joined, formats)
    if len(found) == 1:
        return next(iter(found))
    what = "may be read in two ways" if found else "is in no known format"
    raise Unsure(
        f"the time {', '.join(map(repr, sample.values(time)[:1]))} in column {time} {what}: give "
        f"its format with --time-format, such as {' or '.join(found) or '%d/%m/%Y %H:%M:%S'}",
        {"time_format": None},
    )


def _named(
    sample: Sample, what: str, words: Sequence[Collection[str]], taken: Sequence[Column | None]
) -> Column:
    """Find the column of users, or of items, by its name; columns of ids come before names."""
    able = [c for c in sample.places if c not in taken and _type(c) in (None, "token")]
    able = [c for c in able if not sample.all_match(_FRACTION, c)]
    for known in words:
        found = sorted((c for c in able if _stem(c) in known), key=_weakness)
        alike = [c for c in found if _weakness(c) == _weakness(found[0])]
        if len(alike) > 1 or len(set(map(_stem, found))) > 1:
            raise _several(sample, what, found)
        if found:
            return found[0]
    raise _several(sample, what, [c for c in sample.labels if c not in taken])


def _several(sample: Sample, what: str, columns: Sequence[Column]) -> Unsure:
    return Unsure(
        f"it is not clear which column is the {what}: name it with --{what}; "
        f"{_shown(sample, columns or sample.places)}",
        {what: None},
    )


def _timeless(sample: Sample) -> Unsure:
    return Unsure(
        "no column can be a time: if one is, name it with --time and --time-format; use "
        "--time-format order if the rows are in time order, or --item-lists if each line is a user "
        f"and its items; {_shown(sample, sample.places)}",
        {"time": None},
    )


def _shown(sample: Sample, columns: Iterable[Column]) -> str:
    """Describe candidate columns by their first values."""
    texts = []
    for column in columns:
        values = ", ".join(value[:24] for value in dict.fromkeys(sample.values(column)[:3]))
        time = f", a time ({' or '.join(sample.times[column])})" if column in sample.times else ""
        clock = ", a time of day" if column in sample.clocks else ""
        texts.append(f"column {column} holds {values or 'nothing'}{time}{clock}")
    return "; ".join(texts)


def _type(column: Column) -> str | None:
    """Return RecBole's type of a column, which is part of its name, or None."""
    typed = TYPED.match(str(column))
    return typed[2] if typed else None


def _plain(column: Column) -> str:
    """Return a column's name in lower case, without punctuation and RecBole's type."""
    return re.sub(r"[^a-z]", "", TYPED.sub(r"\1", str(column)).lower())


def _stem(column: Column) -> str:
    return _SUFFIX.sub("", _plain(column))


def _weakness(column: Column) -> int:
    """Return a rank: 0 for ids, 1 for names without a suffix, 2 for columns of names."""
    found = _SUFFIX.search(_plain(column))
    return 1 if found is None else 2 if found[2] else 0
