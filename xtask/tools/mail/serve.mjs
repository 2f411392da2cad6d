// Runs the local SES on 127.0.0.1, with inbox.html in place of its own page. Its argument is the port.
//
// The package's own page shows each mail in a frame, and a link opens inside this frame. The page for a new password cannot be shown in a frame,
// so the link would not work.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

// The package is in the working directory, not beside this file.
const { default: start } = createRequire(`${process.cwd()}/`)("aws-ses-v2-local");
const inbox = await readFile(new URL("inbox.html", import.meta.url));

const server = await start({ host: "127.0.0.1", port: Number(process.argv[2]) });
const [ses] = server.listeners("request");
server.removeListener("request", ses);
server.on("request", (request, response) => {
  if (request.method === "GET" && request.url === "/") {
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(inbox);
  } else {
    ses(request, response);
  }
});
