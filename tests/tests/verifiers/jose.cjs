// Verifies an access token with jose and the issuer's key set, as a Node.js service does, and prints its claims.

const { createRequire } = require("node:module");

const [packages, jwksUrl, issuer, audience, token] = process.argv.slice(2);
const { createRemoteJWKSet, jwtVerify } = createRequire(packages + "/")("jose");

jwtVerify(token, createRemoteJWKSet(new URL(jwksUrl)), { issuer, audience }).then(
  ({ payload }) => console.log(JSON.stringify(payload)),
  (problem) => {
    console.error(`${problem.code}: ${problem.message}`);
    process.exitCode = 1;
  },
);
