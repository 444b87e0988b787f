// A JupyterLab extension as it is, without a build: the container that webpack would make is below.
// It shows the site's banner and notices above everything, and adds the guide to the help menu.
"use strict";

(() => {
  const NAME = "landbridge-notices";
  const ASK_MILLISECONDS = 60000;
  const COLOURS = {
    banner: "background: #ffe08a; color: #332600; font-weight: bold;",
    notice: "background: #e2e8f0; color: #1a202c;",
  };

  // What JupyterLab shares with its extensions: name, then version.
  let shared = {};
  const load = async (name) => (await Object.values(shared[name])[0].get())();

  // A notice that was put away stays away in this browser, until it says something else.
  const putAway = () => JSON.parse(localStorage.getItem(NAME) || "[]");
  const away = (text) => localStorage.setItem(NAME, JSON.stringify([...putAway(), text].slice(-20)));

  function row(kind, text, close) {
    const node = document.createElement("div");
    node.className = `landbridge-${kind}`;
    node.setAttribute("role", "status");
    node.style.cssText = `padding: 2px 12px; text-align: center; ${COLOURS[kind]}`;
    node.textContent = text;
    if (close) {
      const button = document.createElement("button");
      button.textContent = "OK";
      button.style.cssText = "margin-left: 12px; cursor: pointer;";
      button.addEventListener("click", close);
      node.append(button);
    }
    return node;
  }

  async function activate(app) {
    const { Widget } = await load("@lumino/widgets");
    const { ServerConnection } = await load("@jupyterlab/services");
    const settings = app.serviceManager.serverSettings;
    const bar = new Widget();
    let said = { banner: "", notices: [], guide: "/hub/home" };
    const rows = document.createElement("div");
    bar.id = NAME;
    bar.node.append(rows);
    app.shell.add(bar, "header", { rank: 0 });

    function fit() {
      // The layout gives a bar its least height, and no more.
      bar.node.style.minHeight = `${rows.offsetHeight}px`;
      bar.parent.fit();
    }

    function show() {
      const left = said.notices.filter((text) => !putAway().includes(text));
      const close = (text) => () => {
        away(text);
        show();
      };
      rows.replaceChildren(
        ...(said.banner ? [row("banner", said.banner)] : []),
        ...left.map((text) => row("notice", text, close(text))),
      );
      fit();
    }

    async function ask() {
      if (document.hidden) return;
      const url = `${settings.baseUrl}landbridge/notices`;
      const answer = await ServerConnection.makeRequest(url, {}, settings);
      if (!answer.ok) return;
      said = await answer.json();
      show();
    }
    // A server that is away is JupyterLab's to tell.
    const askAgain = () => ask().catch((error) => console.warn(`${NAME}: ${error}`));

    app.commands.addCommand("landbridge:guide", {
      label: "How to work here",
      execute: () => window.open(said.guide, "_blank", "noopener"),
    });
    setInterval(askAgain, ASK_MILLISECONDS);
    document.addEventListener("visibilitychange", askAgain);
    window.addEventListener("resize", fit);
    app.restored.then(askAgain);
  }

  const plugin = { id: `${NAME}:plugin`, autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async (scope) => {
      shared = scope;
    },
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
