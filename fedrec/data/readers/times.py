"""SQL that converts the texts of a time column `t` to microseconds."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fedrec.data.readers.duck import text

MICROSECONDS = {"unix": "1000000", "unix_ms": "1000", "unix_us": "1", "unix_ns": "0.001"}
NAMED = (*MICROSECONDS, "iso8601", "order")
YEAR_10000 = 253_402_300_800 * 10**6  # microseconds since 1970
# A clock, and a zone after it: Z, +01, +01:00, UTC, Europe/Berlin.
_ZONED = r":\d\d(\.\d+)? ?([Zz]|[+-]\d\d(:?\d\d)?|[A-Za-z][A-Za-z_/]*)$"
_FINER = r"\.\d{6}\d*[1-9]"


def check_format(time_format: str) -> None:
    """Check a time format.

    Raises:
        ValueError: the format is unknown.
    """
    if time_format not in NAMED and "%" not in time_format:
        raise ValueError(
            f"{time_format!r} is not a time format: give one of {', '.join(NAMED)}, or a pattern "
            "such as '%d/%m/%Y %H:%M:%S'"
        )


def check_zone(zone: str) -> None:
    """Check that a time zone exists.

    Raises:
        ValueError: the time zone does not exist.
    """
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {zone!r}: give a name such as UTC") from None


def microseconds(time_format: str, zone: str) -> str:
    """Return SQL for the microseconds since 1970-01-01 UTC of a text `t`; NULL if it does not fit.

    A time without a zone is in `zone`.
    """
    if time_format == "order":
        return "row_number() OVER () - 1"
    if time_format in MICROSECONDS:
        exact = _exact(time_format)
        return f"CASE WHEN {exact} = trunc({exact}) THEN {_whole(exact)} END"
    if time_format == "iso8601":
        return _iso(zone)
    moment = f"try_strptime(trim(t), {text(time_format)})"
    return f"epoch_us({moment})" if _names_zone(time_format) else _local(moment, zone)


def zoned(time_format: str) -> str:
    """Return SQL that tells whether a text `t` names its zone; NULL if the format decides this."""
    if time_format != "iso8601":
        return "NULL"
    return f"CASE WHEN ends_with(t, 'Z') THEN true ELSE regexp_matches(t, '{_ZONED}') END"


def _names_zone(pattern: str) -> bool:
    return "%z" in pattern or "%Z" in pattern


def _exact(time_format: str) -> str:
    """Return SQL for the microseconds with all digits of the text."""
    digits = 3 if time_format == "unix_ns" else 9
    return f"(TRY_CAST(t AS DECIMAL(38, {digits})) * {MICROSECONDS[time_format]})"


def _whole(exact: str) -> str:
    # Numbers that are too large for BIGINT are clipped, so that they are reported as too late
    # instead of as not a number.
    return f"TRY_CAST(greatest(least({exact}, {YEAR_10000}), -1) AS BIGINT)"


def _iso(zone: str) -> str:
    # Only texts that begin with a digit, because DuckDB also reads words such as `epoch` as times.
    blanks = "replace(replace(trim(t), ' +', '+'), ' -', '-')"
    moment = f"epoch_us(coalesce(TRY_CAST(t AS TIMESTAMPTZ), TRY_CAST({blanks} AS TIMESTAMPTZ)))"
    if zone != "UTC":
        naive = _local("TRY_CAST(trim(t) AS TIMESTAMP)", zone)
        moment = f"CASE WHEN {zoned('iso8601')} THEN {moment} ELSE {naive} END"
    return (
        f"CASE WHEN {finer('iso8601')} THEN NULL WHEN t >= '0' AND t < ':' THEN {moment} "
        f"WHEN regexp_matches(t, '^ *[0-9]') THEN {moment} END"
    )


def _local(naive: str, zone: str) -> str:
    """Return SQL that converts a local time in `zone` to microseconds.

    An hour that occurs twice in autumn is its first occurrence. A time that spring skips counts as
    one hour later.
    """
    if zone == "UTC":
        return f"epoch_us({naive})"
    later = f"timezone({text(zone)}, {naive})"
    earlier = f"({later} - INTERVAL 1 HOUR)"
    same = f"timezone({text(zone)}, {earlier}) = {naive}"
    return f"epoch_us(CASE WHEN {same} THEN {earlier} ELSE {later} END)"


def finer(time_format: str) -> str:
    """Return SQL that tells whether a text `t` has digits below the microsecond."""
    if time_format in MICROSECONDS:
        exact = _exact(time_format)
        return f"{exact} <> trunc({exact})"
    return f"CASE WHEN length(t) > 26 THEN regexp_matches(t, '{_FINER}') ELSE false END"
