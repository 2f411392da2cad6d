// Runs the stand-in for SES on 127.0.0.1, with inbox.html in place of its own page. Its argument is the port. `/store?to=<address>` is the list of mails
// to one address: during all tests the server gets thousands of mails, so that the whole store is many megabytes.
//
// The package's own page shows each mail in a frame, and a link opens inside this frame. The page for a new password cannot be shown in a frame,
// so the link would not work.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

// The package is in the working directory, not beside this file.
const packages = createRequire(`${process.cwd()}/`);
const { default: start } = packages("aws-ses-v2-local");
const { getStoreReadonly } = packages("aws-ses-v2-local/dist/store.js");
const inbox = await readFile(new URL("inbox.html", import.meta.url));

const server = await start({ host: "127.0.0.1", port: Number(process.argv[2]) });
const [ses] = server.listeners("request");
server.removeListener("request", ses);
server.on("request", (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
  if (request.method === "GET" && pathname === "/") {
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(inbox);
  } else if (request.method === "GET" && pathname === "/store" && searchParams.has("to")) {
    const mails = getStoreReadonly().emails.filter(({ destination }) => destination.to?.includes(searchParams.get("to")));
    response.setHeader("Content-Type", "application/json").end(JSON.stringify(mails));
  } else {
    ses(request, response);
  }
});
