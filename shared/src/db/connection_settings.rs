//! The settings of connections to PostgreSQL.

use std::net::IpAddr;

use aws_config::SdkConfig;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, Der, TrustAnchor, pem::PemObject},
};
use tokio_postgres::config::Host;

use crate::{
    aws,
    environment::{ConfigError, Environment},
    security::policy,
};

/// Where the database is, and how to log in.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// The driver's configuration, from `DATABASE_URL`.
    pub connection: tokio_postgres::Config,
    /// The certificate authorities that verify the server. `None` if the connection is not encrypted.
    pub authorities: Option<RootCertStore>,
    /// The region and the credentials that sign an IAM login token. `None` if the role logs in with a password.
    pub iam: Option<SdkConfig>,
    /// Whether statements are prepared. Poolers that do not support this may run a statement that another client has prepared under the same name.
    pub prepared_statements: bool,
}

/// The certificate authorities of Amazon RDS in every region. `build.rs` makes them from `certificates/rds.pem`.
static RDS: &[TrustAnchor<'static>] = &include!(concat!(env!("OUT_DIR"), "/rds.rs"));

impl ConnectionSettings {
    /// Reads `DATABASE_URL`, `DATABASE_TLS`, `DATABASE_CA`, `DATABASE_AUTH` and `DATABASE_PREPARED_STATEMENTS`.
    ///
    /// The connection is encrypted and the server verified, unless the server is on this machine or `DATABASE_TLS` is `off`.
    ///
    /// # Errors
    /// If the URL is missing, if a variable is malformed, if there are no certificate authorities, or if no IAM login token can be signed for this host or
    /// user.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let url = env.required(
            "DATABASE_URL",
            "the URL of the PostgreSQL database, such as postgres://user:password@host:5432/database",
        )?;
        let malformed = ConfigError::Malformed {
            name: "DATABASE_URL",
            expected: "a URL of PostgreSQL, such as postgres://user:password@host:5432/database",
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(malformed);
        }
        let mut connection: tokio_postgres::Config =
            url.parse().map_err(|_| refused_parameter(url).unwrap_or_else(|| malformed.clone()))?;
        if connection.get_hosts().is_empty() {
            return Err(malformed);
        }
        connection
            .connect_timeout(policy::DATABASE_CONNECT_TIMEOUT)
            .tcp_user_timeout(policy::DATABASE_ACKNOWLEDGED)
            .application_name("jwt-auth");
        let authorities = match env.optional("DATABASE_TLS") {
            Some("off") => None,
            None if is_loopback(&connection) => None,
            None | Some("verify") => Some(authorities(env)?),
            Some(_) => return Err(ConfigError::Malformed { name: "DATABASE_TLS", expected: "`verify` or `off`" }),
        };
        let iam = match env.optional("DATABASE_AUTH") {
            None | Some("password") => None,
            Some("iam") if !is_for_iam(&connection) => {
                let expected =
                    "a URL with one host, and one user of ASCII letters, digits and _, if DATABASE_AUTH is `iam`";
                return Err(ConfigError::Malformed { name: "DATABASE_URL", expected });
            }
            Some("iam") if authorities.is_none() && !is_loopback(&connection) => {
                return Err(ConfigError::Malformed {
                    name: "DATABASE_TLS",
                    expected: "`verify` if DATABASE_AUTH is `iam`",
                });
            }
            Some("iam") => Some(aws::sdk_config(env)),
            Some(_) => return Err(ConfigError::Malformed { name: "DATABASE_AUTH", expected: "`password` or `iam`" }),
        };
        // Only RDS and RDS Proxy accept IAM. Both support prepared statements.
        let prepared_statements = env.switch("DATABASE_PREPARED_STATEMENTS", iam.is_some())?;
        Ok(Self { connection, authorities, iam, prepared_statements })
    }
}

/// Parameters that other drivers accept in a URL, and what to use instead.
const PARAMETERS_OF_OTHERS: [(&str, &str); 5] = [
    ("sslmode", "without this `sslmode`: DATABASE_TLS=verify, the default, does the same as verify-full"),
    ("sslrootcert", "without `sslrootcert`: DATABASE_CA names the file of certificates"),
    ("sslcert", "without `sslcert`: clients log in with a password or IAM (DATABASE_AUTH), not with a certificate"),
    ("pgbouncer", "without `pgbouncer`: DATABASE_PREPARED_STATEMENTS=off works with every pooler"),
    ("schema", "without `schema`: set the schema of the role with ALTER ROLE … SET search_path"),
];

/// The error for a URL with a parameter of another driver.
fn refused_parameter(url: &str) -> Option<ConfigError> {
    let (_, parameters) = url.split_once('?')?;
    let understood = ["sslmode=disable", "sslmode=prefer", "sslmode=require"];
    let others = parameters.split('&').filter(|parameter| !understood.contains(parameter));
    let names: Vec<_> = others.filter_map(|parameter| parameter.split('=').next()).collect();
    let (_, expected) = PARAMETERS_OF_OTHERS.iter().find(|(name, _)| names.contains(name))?;
    Some(ConfigError::Malformed { name: "DATABASE_URL", expected })
}

/// Reads the certificate authorities from `DATABASE_CA`.
fn authorities(env: &Environment) -> Result<RootCertStore, ConfigError> {
    let expected = "`rds`, `system`, or the path of a file of certificates in PEM";
    let malformed = ConfigError::Malformed { name: "DATABASE_CA", expected };
    let certificates = match env.optional("DATABASE_CA") {
        None | Some("rds") => return Ok(RDS.iter().cloned().collect()),
        Some("system") => Ok(rustls_native_certs::load_native_certs().certs),
        Some(path) => CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
    };
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(certificates.map_err(|_| malformed.clone())?);
    if authorities.is_empty() { Err(malformed) } else { Ok(authorities) }
}

/// An IAM login token is for one host and one user. The user's name is a part of the signed URL, so its characters must need no encoding.
fn is_for_iam(connection: &tokio_postgres::Config) -> bool {
    let plain = |user: &str| user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    matches!(connection.get_hosts(), [Host::Tcp(_)]) && connection.get_user().is_some_and(plain)
}

fn is_loopback(connection: &tokio_postgres::Config) -> bool {
    // If the URL contains an address (`hostaddr`) as well as a host, the driver connects to the address.
    connection.get_hostaddrs().iter().all(IpAddr::is_loopback)
        && connection.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
            Host::Unix(_) => true,
        })
}

#[cfg(test)]
mod tests;
