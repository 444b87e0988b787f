"""Cells of one user's notebook, one after the other in one kernel; the server starts if need be.

Run on the node as root by the Python of environment `jupyterhub`, beside hub_session.py of the
host checks. Arguments: the hub's settings as JSON, a user whose password is `<user>'s own`, cells.
Prints their outputs, or why the server did not start.
"""

import asyncio
import json
import sys

import hub_session


def main(settings, user, *cells):
    """The outputs."""
    browser = hub_session.Browser(settings["bind_url"], None)
    browser.login(user, f"{user}'s own")
    _, model = browser.api("GET", f"/users/{user}")
    running = "" in model["servers"]
    error = None if running else hub_session.wait_for_server(browser, user)
    if error:
        return {"error": error}
    _, answer = browser.api("POST", f"/users/{user}/tokens", {"expires_in": 600})
    server = hub_session.Server(settings["bind_url"], user, answer["token"], None)
    kernels = server.call("GET", "/kernels")
    kernel = kernels[0] if kernels else server.call("POST", "/kernels", {})
    return [asyncio.run(server.execute(kernel["id"], cell)) for cell in cells]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]), *sys.argv[2:])))
