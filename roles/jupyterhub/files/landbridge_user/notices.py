"""Where JupyterLab asks for the banner and the notices."""

import asyncio
import json
from pathlib import Path

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from landbridge_user import telling

VALUES = Path(__file__).parents[1] / "values.json"


class NoticesHandler(APIHandler):
    """The banner and the notices, as JSON."""

    # JupyterLab asks every minute: that is no work of the user's.
    _track_activity = False

    @authenticated
    async def get(self):
        """What is said now; a new banner needs no restart."""
        values = json.loads(VALUES.read_text())
        used = await asyncio.to_thread(telling.use_of, Path.home())
        said = {"banner": values["banner"], "notices": telling.notices(values, used)}
        self.finish(json.dumps({**said, "guide": values["guide"]}))


def _jupyter_server_extension_points():
    return [{"module": "landbridge_user.notices"}]


def _load_jupyter_server_extension(app):
    path = url_path_join(app.web_app.settings["base_url"], "landbridge/notices")
    app.web_app.add_handlers(".*$", [(path, NoticesHandler)])
