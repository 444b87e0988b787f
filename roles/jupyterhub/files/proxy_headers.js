// Loaded into the proxy before it starts (NODE_OPTIONS): what every answer to a browser has, whether
// it comes from the hub, from a user's server or from the proxy itself, and what none of them tells.
"use strict";

const http = require("http");

const HIDDEN = ["Server", "X-Powered-By", "X-JupyterHub-Version"];
const ADDED = {
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "same-origin",
};
const seconds = Number(process.env.LANDBRIDGE_HSTS_SECONDS || 0);
if (seconds > 0) ADDED["Strict-Transport-Security"] = `max-age=${seconds}`;

const writeHead = http.ServerResponse.prototype.writeHead;
http.ServerResponse.prototype.writeHead = function (...given) {
  for (const name of HIDDEN) this.removeHeader(name);
  for (const [name, value] of Object.entries(ADDED)) this.setHeader(name, value);
  return writeHead.apply(this, given);
};
