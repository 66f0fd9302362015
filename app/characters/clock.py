"""The clock as macros tell it, in both languages. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from models.scene import Language

WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "zh": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
}
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
_UNITS = {"en": (" minute", " hour", " day"), "zh": ("分钟", "小时", "天")}
_FORMAT = re.compile(r"YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|A|a")


def tell(name: str, argument: str, now: datetime, language: Language) -> str | None:
    """What the macro `name` says of the moment `now`; None when it says nothing of time."""
    if name == "datetimeformat":
        return _formatted(argument, now, language)
    if zone := re.fullmatch(r"time_utc([+-]\d{1,2})", name):
        hours = int(zone[1])
        return f"{now.astimezone(timezone(timedelta(hours=hours))):%H:%M}" if abs(hours) <= 14 else None
    if argument:
        return None
    return {
        "time": f"{now:%H:%M}",
        "isotime": f"{now:%H:%M}",
        "isodate": f"{now:%Y-%m-%d}",
        "date": f"{MONTHS[now.month - 1]} {now.day}, {now.year}"
        if language == "en"
        else f"{now.year}年{now.month}月{now.day}日",
        "weekday": WEEKDAYS[language][now.weekday()],
    }.get(name)


def away(idle: timedelta | None, language: Language, *, coarse: bool) -> str:
    """How long somebody was away; `coarse` tells hours and days alone, so that it seldom changes."""
    minutes = int((idle or timedelta()).total_seconds() // 60)
    size = 0 if minutes < 60 else 1 if minutes < 24 * 60 else 2
    if minutes < 1 or (coarse and size == 0):
        return "a moment" if language == "en" else "一会儿"
    count = (minutes, minutes // 60, minutes // (24 * 60))[size]
    plural = "s" if language == "en" and count != 1 else ""
    return f"{count}{_UNITS[language][size]}{plural}"


def _formatted(pattern: str, now: datetime, language: Language) -> str:
    """Moment.js's commonest letters, which SillyTavern takes."""
    month, weekday = MONTHS[now.month - 1], WEEKDAYS[language][now.weekday()]
    noon = "AM" if now.hour < 12 else "PM"
    hour = now.hour % 12 or 12
    told = {
        **{
            "YYYY": f"{now.year}",
            "YY": f"{now.year % 100:02}",
            "MMMM": month,
            "MMM": month[:3],
            "MM": f"{now.month:02}",
        },
        **{"M": f"{now.month}", "DD": f"{now.day:02}", "D": f"{now.day}", "dddd": weekday, "ddd": weekday[:3]},
        **{"HH": f"{now.hour:02}", "H": f"{now.hour}", "hh": f"{hour:02}", "h": f"{hour}", "mm": f"{now.minute:02}"},
        **{"m": f"{now.minute}", "ss": f"{now.second:02}", "s": f"{now.second}", "A": noon, "a": noon.lower()},
    }
    return _FORMAT.sub(lambda found: told[found[0]], pattern)


def local(now: datetime) -> datetime:
    """The server's own time of day."""
    return (now if now.tzinfo else now.replace(tzinfo=UTC)).astimezone()
