//! Encrypted connections to PostgreSQL.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use postgres::Client;
use toolkit::{interrupt, process, run_folder::RunFolder, workspace::Workspace};

use crate::stack::postgres::Server;

/// The arguments of `openssl` for a new key. RDS uses this kind of key by default.
const NEW: [&str; 4] = ["req", "-newkey", "rsa:2048", "-nodes"];

/// The files with the certificate authorities that programs trust when they verify the server.
pub struct Authorities {
    /// Only the authority of the server's certificate.
    pub ours: PathBuf,
    /// Also the authorities of RDS, because a deployed function reads them.
    pub ours_and_rds: PathBuf,
}

impl Authorities {
    /// Creates a certificate authority, which signs a certificate for the server. Then enables TLS in the server.
    pub fn create(workspace: &Workspace, run_folder: &RunFolder, server: &Server, sql: &mut Client) -> Result<Self> {
        let folder = run_folder.path().join("tls");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("extensions"), "subjectAltName = IP:127.0.0.1\n")?;
        let authority = ["-x509", "-days", "2", "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(&folder, &[&NEW[..], &authority].concat())?;
        openssl(
            &folder,
            &[&NEW[..], &["-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"]].concat(),
        )?;
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

        let (ours, ours_and_rds) = (folder.join("ca.pem"), folder.join("ca-and-rds.pem"));
        let rds = workspace.root.join("shared/certificates/rds.pem");
        let rds = fs::read(&rds).with_context(|| format!("cannot read {}", rds.display()))?;
        fs::write(&ours_and_rds, [rds, fs::read(&ours)?].concat())?;
        Ok(Self { ours, ours_and_rds })
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<()> {
    process::output("openssl", Command::new("openssl").current_dir(folder).args(arguments)).map(drop)
}
