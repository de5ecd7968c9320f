// The echo work on Node.js: prints its port and echoes until it is killed.
"use strict";
const net = require("node:net");

const server = net.createServer({ noDelay: true }, (conn) => {
  conn.on("data", (data) => conn.write(data));
  conn.on("error", () => conn.destroy());
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 64 }, () => {
  process.stdout.write(`${server.address().port}\n`);
});
