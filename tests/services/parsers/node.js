// Node's own HTTP server, which writes down what it serves: a line of JSON for each head as soon as it
// is handed over, and one for each body that came whole. Bytes are characters of Latin-1.
//
//     node.js PORT

const http = require("node:http");
const fs = require("node:fs");

const tell = (line) => fs.writeSync(1, Buffer.from(JSON.stringify(line) + "\n", "latin1"));
let requests = 0;

const server = http.createServer((request, response) => {
  const id = ++requests;
  const port = request.socket.remotePort;
  tell({ id, port, method: request.method, target: request.url, authorization: request.headers.authorization ?? null });
  let body = 0;
  request.on("data", (data) => (body += data.length));
  request.on("end", () => {
    tell({ id, port, body });
    response.end("ok\n");
  });
  request.on("error", () => {});
});
server.listen(Number(process.argv[2]), "127.0.0.1");
