"""Collaboration is for the servers of teams; a user's own gets a link to the teams' folders."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

c = get_config()  # noqa: F821 - Jupyter puts it here

folder = os.environ.get("LANDBRIDGE_TEAM_FOLDER")
folders = os.environ.get("LANDBRIDGE_TEAM_FOLDERS")
c.YDocExtension.disable_rtc = not folder


def save_before_the_end():
    """Have a server that stops write down what it has not saved yet.

    jupyter-server-ydoc saves when nobody has typed for a while, and drops what then is due when it
    is stopped: the last words would be gone, for at the next start the file is right.
    """
    # Not at the top: users' own servers start without jupyter-collaboration, too.
    from jupyter_server_ydoc.rooms import DocumentRoom  # noqa: PLC0415
    from jupyter_server_ydoc.websocketserver import JupyterWebsocketServer  # noqa: PLC0415

    clean = JupyterWebsocketServer.clean

    async def save_and_clean(self):
        rooms = [room for room in self.rooms.values() if isinstance(room, DocumentRoom)]
        await asyncio.gather(*(task for room in rooms if (task := room._save_to_disc())))
        await clean(self)

    JupyterWebsocketServer.clean = save_and_clean


if folder:
    save_before_the_end()
    # A server that is killed loses no more than this.
    c.YDocExtension.document_save_delay = 0.5
    c.ServerApp.root_dir = folder
    # The team's folder holds documents and nothing of the server's own.
    own = Path.home() / ".local/share/jupyter"
    own.mkdir(parents=True, exist_ok=True)
    c.SQLiteYStore.db_path = str(own / "collaboration.db")
    c.YDocExtension.session_store_path = str(own / "collaboration_sessions.json")
    # History of edits that nobody has touched for a week is folded together.
    c.SQLiteYStore.squash_after_inactivity_of = 7 * 24 * 3600
    # Seconds that the server believes what the hub said about who may use it.
    c.HubOAuth.cache_max_age = 30
elif folders and any(os.access(team, os.R_OK | os.X_OK) for team in Path(folders).glob("*")):
    # What is called so already stays.
    with suppress(FileExistsError):
        (Path.home() / "teams").symlink_to(folders)
