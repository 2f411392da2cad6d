//! Encrypted connections to PostgreSQL.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use postgres::Client;
use toolkit::{interrupt, process, run_folder::RunFolder};

use crate::stack::postgres::Server;

/// The arguments of `openssl` for a new key. RDS uses this kind of key by default.
const NEW: [&str; 4] = ["req", "-newkey", "rsa:2048", "-nodes"];

/// Creates a certificate authority, which signs a certificate for the server. Then enables TLS in the server. Returns the file with the authority's
/// certificate.
pub fn enable(run_folder: &RunFolder, server: &Server, sql: &mut Client) -> Result<PathBuf> {
    let folder = run_folder.path().join("tls");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("extensions"), "subjectAltName = IP:127.0.0.1\n")?;
    let authority = ["-x509", "-days", "2", "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&folder, &[&NEW[..], &authority].concat())?;
    openssl(&folder, &[&NEW[..], &["-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"]].concat())?;
    let sign = ["x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    let files = ["-in", "server.csr", "-extfile", "extensions", "-out", "server.crt"];
    openssl(&folder, &[&sign[..], &files].concat())?;

    let (user, data) = server.user_and_folder();
    for name in ["server.crt", "server.key"] {
        let file = data.join("cluster").join(name);
        fs::copy(folder.join(name), &file)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        if let Some((user, group)) = user.split_once(':') {
            chown(&file, Some(user.parse()?), Some(group.parse()?))?;
        }
    }
    sql.batch_execute("ALTER SYSTEM SET ssl = on")?;
    sql.batch_execute("SELECT pg_reload_conf()")?;
    while sql.query_one("SHOW ssl", &[])?.get::<_, &str>(0) != "on" {
        interrupt::sleep(Duration::from_millis(25))?;
    }
    Ok(folder.join("ca.pem"))
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<()> {
    process::output("openssl", Command::new("openssl").current_dir(folder).args(arguments)).map(drop)
}
