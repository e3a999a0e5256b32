"""What a container's health check runs: `python -m tiebreak.apps.probe [URL]`. The standard library alone, so it is quick.

Exit code 0 when the address answers 200, else 1 with one line that says why.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 3.0


def default_url(environ: dict[str, str] | os._Environ[str]) -> str:
    """The readiness of the process beside us.

    >>> default_url({"TIEBREAK_PORT": "8081"})
    'http://127.0.0.1:8081/health/ready'
    """
    return f"http://127.0.0.1:{environ.get('TIEBREAK_PORT', '8080')}/health/ready"


def main() -> None:
    """Ask once."""
    url = sys.argv[1] if len(sys.argv) > 1 else default_url(os.environ)
    if not url.startswith(("http://", "https://")):
        sys.exit(f"{url} is not an http address.")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):  # noqa: S310 - http alone, checked above
            return
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{url} does not answer: {error}")


if __name__ == "__main__":
    main()
