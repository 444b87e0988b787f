"""One user's session with JupyterHub over HTTP, from the login form to a notebook's output.

Run on the node as root by the Python of environment `jupyterhub` (for websockets, and the culler).
Arguments: the hub's settings as JSON, an existing user, names of kernels. The user gets a random
password, which never leaves this process. Prints what was answered; the caller judges it.
"""

import asyncio
import http.cookiejar
import json
import logging
import re
import secrets
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

START_SECONDS = 90
CELL_SECONDS = 90
# Says that it has begun, then nothing.
WORK = {
    "python": "print('begun', flush=True); import time; time.sleep(60)",
    "R": "cat('begun'); flush.console(); Sys.sleep(60)",
}
# From the hub, from its static files, and from the proxy itself for what nobody serves.
PATHS = ("/hub/login", "/hub/static/favicon.ico", "/hub/api/users")
# Parts of a server that its environment may have, and Landbridge's own.
PARTS = ("git/settings", "lsp/status", "api/metrics/v1", "landbridge/notices")
# Of the first Python kernel's environment, and of the server's own.
BEGUN = ("import ipykernel; ipykernel.__ver", "import jupyterhub; jupyterhub.__ver")
# The product is in no source line: a frontend that echoes the source cannot pass.
CELLS = {"python": "print(6 * 7 * 1001)", "R": "cat(6 * 7 * 1001)"}


def trust(settings):
    """Believe the hub's own certificate; it is for names, and the checks go to an address."""
    if not settings["tls"]:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.load_verify_locations(settings["certificate"])
    return context


class Browser:
    """A browser: cookies, redirects, the login form."""

    def __init__(self, url, trusted):
        self.url = url
        self.trusted = trusted
        self.cookies = http.cookiejar.CookieJar()
        # The hub is on this node: a proxy of the environment has no part in it.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=trusted),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def request(self, method, path, data=None, headers=None):
        """Status, final URL and text of an answer."""
        request = urllib.request.Request(
            self.url + path, data=data, headers=headers or {}, method=method
        )
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, self.url + path, error.read().decode()

    def headers(self, path):
        """The headers of an answer, in lower case, as the proxy passes them on."""
        try:
            with self._opener.open(self.url + path, timeout=60) as answer:
                given = answer.headers
        except urllib.error.HTTPError as error:
            given = error.headers
        return {name.lower(): value for name, value in given.items()}

    def login(self, user, password):
        """Fill in the login form as it is served; status and final URL."""
        _, _, page = self.request("GET", "/hub/login")
        token = re.search(r'name="_xsrf"\s+value="([^"]+)"', page).group(1)
        form = {"username": user, "password": password, "_xsrf": token}
        data = urllib.parse.urlencode(form).encode()
        status, url, _ = self.request("POST", "/hub/login?next=%2Fhub%2Fhome", data)
        return {"status": status, "path": urllib.parse.urlsplit(url).path}

    def api(self, method, path, body=None):
        """Status and value of a call to the hub's API with the login's cookies."""
        xsrf = next(c.value for c in self.cookies if c.name == "_xsrf" and c.path == "/hub/")
        headers = {
            "X-XSRFToken": xsrf,
            "Referer": f"{self.url}/hub/home",
            "Content-Type": "application/json",
        }
        data = json.dumps(body).encode() if body is not None else None
        status, _, text = self.request(method, f"/hub/api{path}", data, headers)
        return status, json.loads(text) if text.strip() else None


class Server:
    """A user's server, spoken to with a token."""

    def __init__(self, url, user, token, trusted):
        self.base = f"{url}/user/{user}/api"
        self.trusted = trusted
        self.headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        """The value that the server answers; an error status is an exception."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.base + path, data=data, headers=self.headers, method=method
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trusted)
        )
        with opener.open(request, timeout=CELL_SECONDS) as answer:
            text = answer.read().decode()
        return json.loads(text) if text else None

    def answer(self, path):
        """Status and text of an answer."""
        address = f"{self.base.removesuffix('api')}{path}"
        request = urllib.request.Request(address, headers=self.headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trusted)
        )
        try:
            with opener.open(request, timeout=CELL_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def complete(self, text):
        """What the language server would go on with."""
        url = f"ws{self.base[4:].removesuffix('api')}lsp/ws/jedi-language-server"
        request = HTTPRequest(url, headers=self.headers, ssl_options=self.trusted)
        socket = await websocket_connect(request)
        document = {"uri": "file:///begun.py"}
        at = {"textDocument": document, "position": {"line": 0, "character": len(text)}}
        opened = {**document, "languageId": "python", "version": 1, "text": text}
        root = {"processId": None, "rootUri": "file:///", "capabilities": {}}
        for message in (
            {"id": 1, "method": "initialize", "params": root},
            {"method": "initialized", "params": {}},
            {"method": "textDocument/didOpen", "params": {"textDocument": opened}},
            {"id": 2, "method": "textDocument/completion", "params": at},
        ):
            await socket.write_message(json.dumps({"jsonrpc": "2.0", **message}))
            while "id" in message:
                answer = json.loads(await socket.read_message())
                if answer.get("id") == message["id"] and "method" not in answer:
                    break
        socket.close()
        return [item["label"] for item in (answer["result"] or {"items": []})["items"]]

    def run_notebook(self, kernel):
        """Save a notebook of one cell, open it with `kernel`, run the cell."""
        specs = self.call("GET", "/kernelspecs")["kernelspecs"]
        if kernel not in specs:
            return {"error": f"no such kernel; there are: {', '.join(sorted(specs))}"}
        started = time.monotonic()
        source = CELLS[specs[kernel]["spec"]["language"]]
        path = f"landbridge-{kernel}.ipynb"
        self.call("PUT", f"/contents/{path}", notebook(source, kernel))
        wanted = {"name": path, "path": path, "type": "notebook", "kernel": {"name": kernel}}
        session = self.call("POST", "/sessions", wanted)
        try:
            saved = self.call("GET", f"/contents/{path}")["content"]["cells"][0]["source"]
            answer = asyncio.run(
                asyncio.wait_for(self.execute(session["kernel"]["id"], saved), CELL_SECONDS)
            )
        finally:
            self.call("DELETE", f"/sessions/{session['id']}")
        return {**answer, "seconds": round(time.monotonic() - started, 1)}

    def work(self, kernel):
        """When the server says it was last active, twice, while a kernel computes in silence."""
        language = self.call("GET", "/kernelspecs")["kernelspecs"][kernel]["spec"]["language"]
        started = self.call("POST", "/kernels", {"name": kernel})["id"]
        try:
            asyncio.run(asyncio.wait_for(self.begin(started, WORK[language]), CELL_SECONDS))
            seen = [self.call("GET", "/status")["last_activity"]]
            time.sleep(1)
            seen.append(self.call("GET", "/status")["last_activity"])
        finally:
            self.call("DELETE", f"/kernels/{started}")
        time.sleep(0.1)
        idle = [self.call("GET", "/status")["last_activity"] for _ in range(2)]
        return {"working": seen, "idle": idle}

    async def begin(self, kernel_id, source):
        """Send a cell and wait for its first output."""
        url = f"ws{self.base[4:]}/kernels/{kernel_id}/channels"
        request = HTTPRequest(url, headers=self.headers, ssl_options=self.trusted)
        socket = await websocket_connect(request)
        await socket.write_message(json.dumps(execute_request(source)))
        while json.loads(await socket.read_message())["header"]["msg_type"] != "stream":
            pass
        socket.close()

    async def execute(self, kernel_id, source):
        """Send a cell over the kernel's websocket; its output and reply."""
        url = f"ws{self.base[4:]}/kernels/{kernel_id}/channels"
        request = HTTPRequest(url, headers=self.headers, ssl_options=self.trusted)
        socket = await websocket_connect(request)
        message = execute_request(source)
        await socket.write_message(json.dumps(message))
        text, status, idle = "", "", False
        while not (status and idle):
            raw = await socket.read_message()
            if raw is None:
                return {"error": "the websocket was closed", "text": text}
            answer = json.loads(raw)
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            kind, content = answer["header"]["msg_type"], answer["content"]
            if kind == "stream":
                text += content["text"]
            elif kind == "execute_reply":
                status = content["status"]
            elif kind == "status":
                idle = content["execution_state"] == "idle"
        socket.close()
        return {"text": text, "status": status}


def notebook(source, kernel):
    """A notebook of one cell, as the contents API takes it."""
    cell = {
        "id": "c0",
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel}}
    content = {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return {"type": "notebook", "format": "json", "content": content}


def execute_request(source):
    """A message of Jupyter's protocol 5.3."""
    return {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": source, "silent": False, "stop_on_error": True},
        "channel": "shell",
        "buffers": [],
    }


def cookie_flags(cookie):
    """What a cookie tells browsers to keep it from."""
    rest = {name.lower(): value for name, value in cookie._rest.items()}
    return {
        "secure": cookie.secure,
        "httponly": "httponly" in rest,
        "samesite": rest.get("samesite"),
    }


def unit_properties(unit):
    """What systemd holds a server to."""
    names = ("ActiveState", "MemoryMax", "CPUQuotaPerSecUSec", "DevicePolicy", "DeviceAllow")
    names += ("ExecStart",)
    command = ["systemctl", "show", unit, *(f"--property={name}" for name in names)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    shown = {}
    for name, _, value in (line.partition("=") for line in lines):
        shown[name] = f"{shown[name]} {value}" if name in shown else value
    return shown


def start_named(browser, user, name):
    """Start a second server; what became of it, and of the first one's unit."""
    status, answer = browser.api("POST", f"/users/{user}/servers/{name}")
    told = {"status": status, "answer": answer}
    if status in (201, 202):
        told["error"] = until_ready(browser, user, name)
        told["units"] = running_units(user)
        browser.api("DELETE", f"/users/{user}/servers/{name}", {"remove": True})
    return told


def running_units(user):
    """The units of a user's servers that run."""
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active"]
    command.append(f"jupyter-{user}-singleuser*")
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in out.splitlines()]


def cull(settings, browser, user):
    """Let the culler judge every server, and find this user's alone idle; what is left of those."""
    if not settings["cull_idle_seconds"]:
        return None
    from jupyterhub_idle_culler import cull_idle  # not every bundle has it

    command = ["pgrep", "--uid", settings["culler"]]
    process = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    lines = Path(f"/proc/{process}/environ").read_text().split("\0")
    environment = dict(line.split("=", 1) for line in lines if line)
    asyncio.run(
        cull_idle(
            url=environment["JUPYTERHUB_API_URL"],
            api_token=environment["JUPYTERHUB_API_TOKEN"],
            inactive_limit=0,
            logger=logging.getLogger("culler"),
            cull_arbiter=lambda server, **_: server["url"] == f"/user/{user}/",
        )
    )
    return until_gone(browser, user)


def journal(user, since):
    """The hub's lines of JSON about a user."""
    command = ["journalctl", "--unit=landbridge-hub", "--output=cat", f"--since=@{since}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    events = [json.loads(line) for line in out.splitlines() if line.startswith('{"event"')]
    return [event for event in events if event["user"] == user]


def metrics(stranger):
    """What is told to whom of the metrics."""
    token = Path("/run/landbridge-hub/metrics_token").read_text().strip()
    headers = {"Authorization": f"token {token}"}
    status, _, text = stranger.request("GET", "/hub/metrics", headers=headers)
    users = stranger.request("GET", "/hub/api/users", headers=headers)[0]
    anonymous = stranger.request("GET", "/hub/metrics")[0]
    return {"status": status, "text": text, "users": users, "anonymous": anonymous}


def wait_for_server(browser, user, options=None):
    """Start the user's server and wait for it; None, or why it is not there."""
    status, answer = browser.api("POST", f"/users/{user}/server", options)
    if status not in (201, 202):
        return f"{status}: {answer}"
    return until_ready(browser, user, "")


def until_ready(browser, user, name):
    """Wait for a server that starts; None, or why it is not there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _, model = browser.api("GET", f"/users/{user}")
        server = model.get("servers", {}).get(name, {})
        if server.get("ready"):
            return None
        if not server.get("pending"):
            return f"the server stopped while it started: {model}"
        time.sleep(0.3)
    return f"not ready after {START_SECONDS} s"


def stop_server(browser, user):
    """Stop the server and wait until it is gone, so that the user can be removed."""
    browser.api("DELETE", f"/users/{user}/server")
    until_gone(browser, user)


def until_gone(browser, user):
    """Wait until the user has no server; those that are left."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _, model = browser.api("GET", f"/users/{user}")
        if not model.get("servers"):
            return []
        time.sleep(0.3)
    return list(model["servers"])


def as_stranger(settings, trusted):
    """What somebody gets who has not logged in."""
    stranger = Browser(settings["bind_url"], trusted)
    return {
        "anonymous": stranger.request("GET", "/hub/api/users")[0],
        "metrics": metrics(stranger),
        "headers": {path: stranger.headers(path) for path in PATHS},
    }


def before_start(settings, browser, user):
    """What the user is offered, and what is answered to who asks for more."""
    limited = [profile["name"] for profile in settings["profiles"] if profile.get("groups")]
    page = browser.request("GET", f"/hub/spawn/{user}")[2] if limited else ""
    api = f"/users/{user}/server"
    return {
        "forbidden": {name: browser.api("POST", api, {"profile": name}) for name in limited},
        "offered": re.findall(r'<option value="([^"]*)"', page),
    }


def completions(server):
    """How words would go on, where the server knows; each asked in a session of its own."""
    status, text = server.answer("lsp/status")
    if status != 200 or "jedi-language-server" not in json.loads(text)["sessions"]:
        return {}
    return {
        text: asyncio.run(asyncio.wait_for(server.complete(text), CELL_SECONDS)) for text in BEGUN
    }


def lab(browser, user):
    """What the page of JupyterLab is told: extensions that it loads, and what it does without."""
    page = browser.request("GET", f"/user/{user}/lab")[2]
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    told = json.loads(found[1])
    return {
        "extensions": [extension["name"] for extension in told["federated_extensions"]],
        "disabled": told["disabledExtensions"],
        "manager": told["extensionManager"]["can_install"],
        "news": not told["news"]["disabled"],
    }


def with_server(settings, browser, user, kernels):
    """What a running server does, and what becomes of it."""
    status, token = browser.api("POST", f"/users/{user}/tokens", {"expires_in": 600})
    server = Server(settings["bind_url"], user, token["token"], browser.trusted)
    return {
        "token": status,
        "kernels": {kernel: server.run_notebook(kernel) for kernel in kernels},
        "work": server.work(settings["default_kernel"]),
        "lab": lab(browser, user),
        "completion": completions(server),
        "parts": {path: server.answer(path) for path in PARTS},
        "unit": unit_properties(f"jupyter-{user}-singleuser.service"),
        "named": start_named(browser, user, "second-one"),
        "culled": cull(settings, browser, user),
    }


def session(settings, user, kernels):
    """The whole story; every step's answer."""
    url, trusted, began = settings["bind_url"], trust(settings), int(time.time())
    told = as_stranger(settings, trusted)
    password = secrets.token_urlsafe(24)
    subprocess.run(["chpasswd"], input=f"{user}:{password}", text=True, check=True)
    told["refused"] = Browser(url, trusted).login(user, password + "x")
    browser = Browser(url, trusted)
    told["login"] = browser.login(user, password)
    told["cookies"] = {c.name: cookie_flags(c) for c in browser.cookies}
    if told["login"]["path"] != "/hub/home":
        return told
    told["home"] = browser.request("GET", "/hub/home")[2]
    told |= before_start(settings, browser, user)
    started = time.monotonic()
    told["server"] = {"error": wait_for_server(browser, user, {})}
    told["server"]["seconds"] = round(time.monotonic() - started, 1)
    try:
        if told["server"]["error"] is None:
            told |= with_server(settings, browser, user, kernels)
    finally:
        stop_server(browser, user)
    told["events"] = journal(user, began)
    return told


if __name__ == "__main__":
    print(json.dumps(session(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:])))
