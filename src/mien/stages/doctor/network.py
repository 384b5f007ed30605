"""Whether Google Cloud can be reached, and what time it is there."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

LIMIT_S = 3.0


def date_at(address: str) -> datetime | None:
    """The `Date` of a server, whatever it answers; None where nothing answers in time."""
    try:
        with urlopen(Request(address, method="HEAD"), timeout=LIMIT_S) as response:
            date = response.headers["Date"]
    except HTTPError as error:  # an answer all the same
        date = error.headers["Date"]
        error.close()
    except (OSError, HTTPException):
        return None
    return parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)
