"""A container's health check: `python -m deploy.container.http_health URL` fails unless a GET is answered with 2xx."""

import sys
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

SECONDS: Final = 20.0


def complaint(url: str) -> str | None:
    """What is wrong; None where nothing is."""
    try:
        with urlopen(url, timeout=SECONDS):  # noqa: S310  (the container's own address)
            return None
    except (URLError, OSError) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    sys.exit(complaint(sys.argv[1]))
