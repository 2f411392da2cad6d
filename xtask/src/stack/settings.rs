//! The functions' environment, in a file that the developer may edit: `.local/env`.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use toolkit::run_folder::RunFolder;

const HEAD: &str = "# The functions' environment in the local stack. You may change and add lines. They are kept, and the\n\
                    # functions restart with them at once. README.md explains the variables.\n";
const TAIL: &str =
    "# Each start overwrites the lines below. To use another database, set DATABASE_URL where you start the stack.";

/// The origin of a front end on this machine, which `AllowedOrigins` in template.yaml allows by default, too.
const FRONT_END: &str = "http://localhost:3000";

#[derive(Clone)]
pub struct Settings {
    path: PathBuf,
}

/// The addresses of the servers of this run.
pub struct Addresses<'a> {
    pub api: &'a str,
    pub database: &'a str,
    pub mail: &'a str,
    /// The name of the state table, and the address of its DynamoDB.
    pub state_table: Option<(&'a str, &'a str)>,
}

impl Settings {
    /// Writes the file. Keeps the developer's lines, adds missing variables, and replaces the variables that depend on this run.
    pub fn write(run_folder: &RunFolder, addresses: &Addresses) -> Result<Self> {
        let path = run_folder.path().join("env");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let (state_table, dynamodb) = addresses.state_table.unzip();
        let of_this_run = [
            ("DATABASE_URL", Some(addresses.database)),
            ("LINKS_URL", Some(addresses.api)),
            ("AWS_ENDPOINT_URL_SES", Some(addresses.mail)),
            ("STATE_TABLE", state_table),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            // The local mail server and DynamoDB Local accept any credentials.
            ("AWS_REGION", Some("us-east-1")),
            ("AWS_ACCESS_KEY_ID", Some("local")),
            ("AWS_SECRET_ACCESS_KEY", Some("local")),
        ];
        let mut kept: String = before
            .lines()
            .filter(|line| {
                *line != TAIL
                    && !of_this_run.iter().any(|(name, _)| variable(line).is_some_and(|(found, _)| found == *name))
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        if before.is_empty() {
            kept.push_str(HEAD);
        }
        // Passkeys need a domain, and a browser accepts `localhost` as one, without TLS. It accepts no IP address.
        let api_on_localhost = addresses.api.replace("127.0.0.1", "localhost");
        let defaults = [
            ("JWT_SECRET_KEY", random_hex(32)?),
            ("DATA_SECRET_KEY", STANDARD.encode(random(32)?)),
            ("PASSKEY_RP_ID", "localhost".to_owned()),
            ("PASSKEY_ORIGINS", format!("{api_on_localhost},{FRONT_END}")),
            ("MAIL_FROM", "no-reply@example.com".to_owned()),
            // The walk-through uses the password `password123`. The defaults of a deployment, 15 and `on`, would refuse it.
            ("PASSWORD_MIN_LENGTH", "8".to_owned()),
            ("PASSWORD_BLOCKLIST", "off".to_owned()),
        ];
        for (name, value) in defaults {
            if !kept.lines().filter_map(variable).any(|(found, _)| found == name) {
                _ = writeln!(kept, "{name}={value}");
            }
        }
        let mut text = format!("{}\n\n{TAIL}\n", kept.trim_end());
        for (name, value) in of_this_run.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            _ = writeln!(text, "{name}={value}");
        }

        // The file holds secrets. It is created with its permissions and then renamed, so that others can never read it.
        let new = path.with_extension("new");
        _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(new, &path)?;
        Ok(Self { path })
    }

    pub fn read(&self) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(text.lines().filter_map(variable).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Parses `NAME=value`. The value may be in quotes.
fn variable(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    (!name.is_empty() && !name.starts_with('#')).then_some((name, quoted.unwrap_or(value)))
}

/// Random bytes, as hexadecimal digits.
pub fn random_hex(bytes: usize) -> Result<String> {
    Ok(hex::encode(random(bytes)?))
}

/// Random bytes from the operating system's generator.
fn random(bytes: usize) -> Result<Vec<u8>> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut urandom| urandom.read_exact(&mut random))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(random)
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn a_line_is_a_variable_a_comment_or_nothing() {
        assert_eq!(variable("A=b=c"), Some(("A", "b=c")));
        assert_eq!(variable(" A = 'b' "), Some(("A", "b")));
        assert_eq!(variable("# A=b"), None);
        assert_eq!(variable(""), None);
    }
}
