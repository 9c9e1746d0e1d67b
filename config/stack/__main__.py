"""`python -m config.stack`: what `make run` runs."""

from __future__ import annotations

import sys

from django.core.exceptions import ImproperlyConfigured

from config.stack.run import run
from config.stack.running import AlreadyRunningError
from config.stack.servers import ServerError
from config.stack.supervisor import StartError


def main() -> None:
    try:
        run()
    except ImproperlyConfigured as error:
        sys.exit(f"configuration error: {error}")
    except (AlreadyRunningError, StartError, ServerError, OSError) as error:
        sys.exit(f"cannot run: {error}")


if __name__ == "__main__":
    main()
