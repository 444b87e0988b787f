"""What a team's server says to one user, and two clients of that user in one notebook.

Run on the node as root by the Python of environment `jupyterhub`. Arguments: the hub's values as
JSON, an existing user, the team's account, its folder, and `outsider` or `member`. The user gets a
random password, which never leaves this process. Prints what was answered; judging it is the
caller's work.
"""

import asyncio
import json
import re
import secrets
import ssl
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
from jupyter_ydoc import YNotebook
from pycrdt import YMessageType, create_sync_message, create_update_message, handle_sync_message
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

SECONDS = 90
EDITS = ("first = 1\n", "second = 2\n")


class Web:
    """How the hub is reached from its own node: no proxy of the environment has a part in it."""

    def __init__(self, settings):
        self.url = settings["bind_url"]
        # Believed as it is; it is for names, and this goes to an address.
        self.trusted = ssl.create_default_context(cafile=settings["certificate"])
        self.trusted.check_hostname = False

    def client(self, path="", **options):
        """For requests to what is below a path."""
        options |= {"timeout": 60, "trust_env": False, "verify": self.trusted}
        return httpx.Client(base_url=self.url + path, **options)

    def socket(self, path, headers):
        """For a websocket."""
        url = f"ws{self.url[4:]}{path}"
        return HTTPRequest(url, headers=headers, ssl_options=self.trusted)


def logged_in(web, user):
    """A browser in which the user has filled in the login form."""
    password = secrets.token_urlsafe(24)
    subprocess.run(["chpasswd"], input=f"{user}:{password}", text=True, check=True)
    browser = web.client(follow_redirects=True)
    token = re.search(r'name="_xsrf"\s+value="([^"]+)"', browser.get("/hub/login").text).group(1)
    form = {"username": user, "password": password, "_xsrf": token}
    browser.post("/hub/login", params={"next": "/hub/home"}, data=form)
    return browser


def hub(browser, method, path, body=None):
    """The hub's answer to a call of its API with the login's cookies."""
    token = next(c.value for c in browser.cookies.jar if (c.name, c.path) == ("_xsrf", "/hub/"))
    headers = {"X-XSRFToken": token, "Referer": f"{browser.base_url}hub/home"}
    return browser.request(method, f"/hub/api{path}", json=body, headers=headers)


def waited_for(done):
    """Whether something came true in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.3)
    return False


class Client:
    """A client of a shared notebook, as JupyterLab's page is one."""

    def __init__(self):
        self.notebook = YNotebook()
        self.socket = None
        self.applying = False

    async def open(self, request):
        """Join, and stay in step until the task is cancelled."""
        self.socket = await websocket_connect(request)
        document = self.notebook.ydoc
        subscription = document.observe(self.send)
        await self.socket.write_message(create_sync_message(document), binary=True)
        while (message := await self.socket.read_message()) is not None:
            if message[0] == YMessageType.SYNC:
                self.applying = True
                reply = handle_sync_message(message[1:], document)
                self.applying = False
                if reply:
                    await self.socket.write_message(reply, binary=True)
        document.unobserve(subscription)

    def send(self, event):
        """Tell the server of a change that is not from there."""
        if not self.applying:
            self.socket.write_message(create_update_message(event.update), binary=True)

    def text(self):
        """The source of the first cell; empty until it is known."""
        return str(self.notebook.ycells[0]["source"]) if self.notebook.cell_number else ""


async def come_true(done):
    """Wait for something that the tasks beside bring about."""
    async with asyncio.timeout(SECONDS):
        while not done():
            await asyncio.sleep(0.02)


async def edit(request):
    """Two clients write into the same cell; what each of them has in the end."""
    clients = Client(), Client()
    tasks = [asyncio.create_task(client.open(request())) for client in clients]
    try:
        await come_true(lambda: all(client.notebook.cell_number for client in clients))
        for client, line in zip(clients, EDITS, strict=True):
            client.notebook.ycells[0]["source"].insert(0, line)
        await come_true(lambda: all(line in c.text() for line in EDITS for c in clients))
        return [client.text() for client in clients]
    finally:
        for task in tasks:
            task.cancel()


def share_a_notebook(web, server, headers, folder):
    """Make a notebook, write into it as two, and read the file; the notebook is deleted again."""
    name = f"landbridge-check-{uuid.uuid4().hex[:8]}.ipynb"
    cell = {"cell_type": "code", "id": "c0", "metadata": {}, "outputs": [], "source": ""}
    cell["execution_count"] = None
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    api = web.client(f"{server}/api", headers=headers)
    api.put(f"/contents/{name}", json={"type": "notebook", "content": content}).raise_for_status()
    try:
        kind = {"format": "json", "type": "notebook"}
        room = api.put(f"/collaboration/session/{name}", json=kind).raise_for_status().json()
        path = f"{room['format']}:{room['type']}:{room['fileId']}?sessionId={room['sessionId']}"
        socket = f"{server}/api/collaboration/room/{path}"
        seen = asyncio.run(edit(lambda: web.socket(socket, headers)))
        file = Path(folder, name)
        saved = waited_for(lambda: all(json.dumps(e)[1:-1] in file.read_text() for e in EDITS))
        mode = oct(file.stat().st_mode & 0o777)
        return {
            "edits": list(EDITS),
            "seen": seen,
            "saved": saved,
            "group": file.group(),
            "mode": mode,
        }
    finally:
        api.delete(f"/contents/{name}")


def member(web, browser, user, account, folder):
    """A member starts the server where nobody has, and works in it."""
    running = "" in hub(browser, "GET", f"/users/{account}").json().get("servers", {})
    started = hub(browser, "POST", f"/users/{account}/server").status_code

    def ready():
        model = hub(browser, "GET", f"/users/{account}").json()
        return model.get("servers", {}).get("", {}).get("ready")

    if not running and not waited_for(ready):
        return {"started": started, "error": f"not ready after {SECONDS} s"}
    try:
        asked = {"expires_in": 600, "scopes": [f"access:servers!user={account}"]}
        token = hub(browser, "POST", f"/users/{user}/tokens", asked).json()["token"]
        headers = {"Authorization": f"token {token}"}
        server = f"/user/{account}"
        me = web.client(server, headers=headers).get("/api/me").json()
        notebook = share_a_notebook(web, server, headers, folder)
        return {"started": started, "identity": me["identity"]["username"], **notebook}
    finally:
        if not running:
            hub(browser, "DELETE", f"/users/{account}/server")


def outsider(browser, account):
    """What somebody who is in no team is told at each door."""
    return {
        "server": browser.get(f"/user/{account}/api/me").status_code,
        "start": hub(browser, "POST", f"/users/{account}/server").status_code,
        "spawn": browser.get(f"/hub/spawn/{account}").status_code,
        "listed": hub(browser, "GET", f"/users/{account}").status_code,
    }


def main(settings, user, account, folder, role):
    """Everything that was answered."""
    web = Web(json.loads(settings))
    browser = logged_in(web, user)
    home = browser.get("/hub/home").text
    if role == "outsider":
        told = outsider(browser, account)
    else:
        told = member(web, browser, user, account, folder)
    return {"link": f"/hub/spawn/{account}" in home, **told}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
