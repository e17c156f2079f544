"""Numbers as an office program shows them: with the decimals, per cent and currency that their format asks for."""

from __future__ import annotations

import datetime
import math
import re
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

# up to here a float holds each whole number
_WHOLE = 2**53
_MOST_DECIMALS = 15
# of a format: text in quotes, a character behind a backslash, a currency, colours and conditions, room for a sign,
# the digits, and any other character
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)[^\]]*\]|\[[^\]]*\]|[_*].'
    r"|(?P<digits>[#0?][#0?,]*(?:\.[#0?]+)?)|(?P<other>.)"
)
_WRITTEN = "$€£¥%+- "


class _Format(NamedTuple):
    """How a number above zero is written."""

    before: str
    behind: str
    width: int
    decimals: int
    thousands: bool
    per_cent: bool


def shown_value(value: Any, number_format: str = "") -> str:
    """A cell's value as text; "" for none.

    Dates are written as ISO 8601 does, whatever their format, since 03/04 is two days.

    Args:
        value: A number, text, date, time or truth value.
        number_format: The format in Excel's language, such as `0.0%`; "" or `General` for none. Fractions, exponents
            and formats by condition count as none.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, number_format)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return " ".join(str(value).split())


def shown_text(text: str, number_format: str = "", from_1904: bool = False) -> str:
    """A number that a file keeps as text, such as a value in a chart; other text stays as it is.

    Args:
        text: The number.
        number_format: As for `shown_value`.
        from_1904: Whether days are counted from 1904, as Excel for Mac did, instead of from 1900.
    """
    from openpyxl.styles.numbers import is_date_format
    from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

    try:
        value = float(text)
        if number_format and is_date_format(number_format):
            return shown_value(from_excel(value, MAC_EPOCH if from_1904 else WINDOWS_EPOCH))
    except (ValueError, OverflowError):
        return " ".join(text.split())
    return shown_value(value, number_format)


def _number(value: float, number_format: str) -> str:
    plan = _plan(number_format) if math.isfinite(value) and abs(value) < _WHOLE else None
    if plan is None:
        whole = isinstance(value, int) or (value.is_integer() and abs(value) < _WHOLE)
        # 15 digits are what Excel keeps: 0.3, not 0.30000000000000004
        return str(int(value)) if whole else format(value, ".15g")
    size = Decimal(format(abs(value), ".15g")) * (100 if plan.per_cent else 1)
    rounded = size.quantize(Decimal(1).scaleb(-plan.decimals), ROUND_HALF_UP)
    digits = format(rounded, f"{',' * plan.thousands}f").zfill(plan.width)
    sign = "-" if value < 0 and rounded else ""
    return f"{sign}{plan.before}{digits}{plan.behind}"


@lru_cache(maxsize=256)
def _plan(number_format: str) -> _Format | None:
    """A format's plan; None where it is General, or does what is not known here (fractions, exponents, thousands)."""
    section = number_format.split(";")[0]
    parts = ["", ""]
    digits = ""
    for token in _TOKEN.finditer(section):
        other = token["other"] or ""
        if (token["digits"] and digits) or (other and other not in f"{_WRITTEN}()"):
            return None
        digits = token["digits"] or digits
        words = token["quoted"] or token["escaped"] or token["currency"] or (other if other in _WRITTEN else "")
        parts[bool(digits)] += words
    if not digits or digits.endswith(","):
        return None
    whole, _, fraction = digits.partition(".")
    decimals = min(len(fraction), _MOST_DECIMALS)
    thousands = "," in whole
    zeros = 0 if thousands else whole.count("0") + (decimals + 1 if decimals else 0)
    return _Format(parts[0].lstrip(), parts[1].rstrip(), zeros, decimals, thousands, "%" in "".join(parts))
