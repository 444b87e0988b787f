"""Who did what, as one line of JSON each in the hub's journal."""

import json
import sys
from datetime import UTC, datetime


def emit(event, handler=None, **fields):
    """Write an event down.

    Args:
        event: what happened.
        handler: the request that it happened in, for the browser's address.
        fields: whatever else is known of it.
    """
    request = getattr(handler, "request", None)
    # Whoever starts another's server: an administrator, a member of a team.
    actor = handler.current_user if handler else None
    line = {
        "event": event,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **fields,
        "by": actor.name if actor else None,
        "address": request.remote_ip if request else None,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
