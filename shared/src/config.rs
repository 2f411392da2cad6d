//! The environment, read once at start into one typed struct for each capability. A function asks only for what it uses.
//!
//! A missing or malformed value is a [`ConfigError`] that names the variable and what it should be. An empty value counts as
//! unset, because that is what `sam local` makes of a reference it cannot resolve.

use std::{collections::HashMap, str::FromStr, time::Duration};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::SecretString;
use thiserror::Error;
use tracing::warn;

use crate::security::{
    keys::{KeyPairs, PrivateKey, PublicKey},
    policy,
};

/// The variables a process was started with.
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn of_the_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable that Lambda sets: the function's name, or its logging configuration.
    pub(crate) fn lambda(&self, name: &str) -> Option<&str> {
        self.get(name)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str, meaning: &'static str) -> Result<&str, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing { name, meaning })
    }

    fn parsed<T: FromStr>(&self, name: &'static str, expected: &'static str, default: T) -> Result<T, ConfigError> {
        self.get(name).map_or(Ok(default), |value| value.parse().map_err(|_| ConfigError::Malformed { name, expected }))
    }

    fn seconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(
            self.parsed::<u32>(name, "a whole number of seconds", as_u32(default.as_secs()))?.into(),
        ))
    }

    fn lifetime(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let lifetime = self.seconds(name, default)?;
        if lifetime.is_zero() {
            Err(ConfigError::Malformed { name, expected: "one second or more" })
        } else {
            Ok(lifetime)
        }
    }

    fn milliseconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let expected = "a whole number of milliseconds, at most 10000";
        match self.parsed::<u64>(name, expected, u64::from(as_u32(u64::try_from(default.as_millis()).unwrap_or(0))))? {
            milliseconds @ 0..=10_000 => Ok(Duration::from_millis(milliseconds)),
            _ => Err(ConfigError::Malformed { name, expected }),
        }
    }

    /// A service's own endpoint, or that of all. The AWS SDK would read them too, were it not that an empty one panics there.
    fn aws_endpoint(&self, of_service: &'static str) -> Result<Option<String>, ConfigError> {
        let Some((name, url)) =
            [of_service, "AWS_ENDPOINT_URL"].into_iter().find_map(|name| Some((name, self.get(name)?)))
        else {
            return Ok(None);
        };
        if is_http_url(url) {
            Ok(Some(url.to_owned()))
        } else {
            Err(ConfigError::Malformed { name, expected: "an http(s) URL" })
        }
    }

    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.get(name) {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => Err(ConfigError::Malformed { name, expected: "`on` or `off`" }),
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

fn as_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Why a function cannot start. Names the variable, never its value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable that has no default is unset or empty.
    #[error("{name} is not set: it must hold {meaning}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What belongs there.
        meaning: &'static str,
    },
    /// A variable holds something it cannot mean.
    #[error("{name} is malformed: it must be {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Where the database is, and how to get in.
#[derive(Clone)]
pub struct Database {
    /// The driver's own configuration, from `DATABASE_URL`.
    pub connection: tokio_postgres::Config,
    /// Whose word it takes that a server is the one it says it is; none where the connection is not encrypted.
    pub authorities: Option<RootCertStore>,
    /// Whether IAM signs a token for each connection, in place of a password.
    pub iam: bool,
}

/// The certificates that Amazon RDS answers with, of every region (`cargo xtask rds-certificates`).
const RDS: &[u8] = include_bytes!("../certificates/rds.pem");

impl Database {
    /// Reads `DATABASE_URL`, `DATABASE_TLS`, `DATABASE_CA` and `DATABASE_AUTH`.
    ///
    /// A server beyond loopback is verified unless `DATABASE_TLS` is `off`: nobody shall send a password over a network in the clear, or
    /// to a stranger, without having said so.
    ///
    /// # Errors
    /// Where the URL is missing or malformed, where there are no certificates to verify by, or where IAM is to sign for a server or a user
    /// that it cannot sign for.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let url =
            env.required("DATABASE_URL", "the PostgreSQL database, as postgres://user:password@host:5432/database")?;
        let malformed = ConfigError::Malformed {
            name: "DATABASE_URL",
            expected: "of PostgreSQL, as postgres://user:password@host:5432/database",
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
        let authorities = match env.get("DATABASE_TLS") {
            Some("off") => None,
            None if is_loopback(&connection) => None,
            None | Some("verify") => Some(authorities(env)?),
            Some(_) => return Err(ConfigError::Malformed { name: "DATABASE_TLS", expected: "`verify` or `off`" }),
        };
        let iam = match env.get("DATABASE_AUTH") {
            None | Some("password") => false,
            Some("iam") if !is_for_iam(&connection) => {
                let expected = "of one host and one user of ASCII letters, digits and _ where IAM signs";
                return Err(ConfigError::Malformed { name: "DATABASE_URL", expected });
            }
            Some("iam") if authorities.is_none() && !is_loopback(&connection) => {
                return Err(ConfigError::Malformed { name: "DATABASE_TLS", expected: "`verify` where IAM signs" });
            }
            Some("iam") => true,
            Some(_) => return Err(ConfigError::Malformed { name: "DATABASE_AUTH", expected: "`password` or `iam`" }),
        };
        Ok(Self { connection, authorities, iam })
    }
}

/// Parameters that other drivers take in a URL, and what to do instead.
const PARAMETERS_OF_OTHERS: [(&str, &str); 5] = [
    ("sslmode", "without that `sslmode`: DATABASE_TLS=verify is what verify-full means elsewhere, and the default"),
    ("sslrootcert", "without `sslrootcert`: DATABASE_CA names the file of certificates"),
    ("sslcert", "without `sslcert`: a client has no certificate here, but a password or IAM (DATABASE_AUTH)"),
    ("pgbouncer", "without `pgbouncer`: poolers need no parameter, as statements are not kept prepared"),
    ("schema", "without `schema`: set the role's own with ALTER ROLE … SET search_path"),
];

/// Why a URL that the driver does not understand is refused, where a parameter of another driver is the reason.
fn refused_parameter(url: &str) -> Option<ConfigError> {
    let (_, parameters) = url.split_once('?')?;
    let understood = ["sslmode=disable", "sslmode=prefer", "sslmode=require"];
    let others = parameters.split('&').filter(|parameter| !understood.contains(parameter));
    let names: Vec<_> = others.filter_map(|parameter| parameter.split('=').next()).collect();
    let (_, expected) = PARAMETERS_OF_OTHERS.iter().find(|(name, _)| names.contains(name))?;
    Some(ConfigError::Malformed { name: "DATABASE_URL", expected })
}

/// Reads `DATABASE_CA`.
fn authorities(env: &Environment) -> Result<RootCertStore, ConfigError> {
    let expected = "`rds`, `system`, or the path of a file of certificates in PEM";
    let malformed = ConfigError::Malformed { name: "DATABASE_CA", expected };
    let certificates = match env.get("DATABASE_CA") {
        None | Some("rds") => CertificateDer::pem_slice_iter(RDS).collect(),
        Some("system") => Ok(rustls_native_certs::load_native_certs().certs),
        Some(path) => CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
    };
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(certificates.map_err(|_| malformed.clone())?);
    if authorities.is_empty() { Err(malformed) } else { Ok(authorities) }
}

/// What IAM signs names one host and one user, who needs no encoding.
fn is_for_iam(connection: &tokio_postgres::Config) -> bool {
    let plain = |user: &str| user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    matches!(connection.get_hosts(), [tokio_postgres::config::Host::Tcp(_)]) && connection.get_user().is_some_and(plain)
}

fn is_loopback(connection: &tokio_postgres::Config) -> bool {
    use tokio_postgres::config::Host;
    // An address beside the name is where the connection goes.
    let addresses = connection.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
    addresses
        && connection.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
            Host::Unix(_) => true,
        })
}

/// The parser of URLs takes UTF-8 in a path, and leaves a fragment unread.
fn is_http_url(text: &str) -> bool {
    let url = text.parse::<lambda_http::http::Uri>();
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && url.is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
                && url.query().is_none()
        })
}

/// What tokens are minted with and held against.
pub struct Tokens {
    /// The HS256 secret.
    pub secret: SecretString,
    /// Secrets whose tokens are good too: the previous one, or the next.
    pub additional_secrets: Vec<SecretString>,
    /// What signs access tokens instead of the secret, if anything does.
    pub key_pairs: KeyPairs,
    /// `iss`.
    pub issuer: String,
    /// The access token's `aud`.
    pub audience: String,
    /// How long an access token lives, at most.
    pub access_lifetime: Duration,
    /// How long a session lives, from sign-in on.
    pub session_lifetime: Duration,
    /// How long the parent of an unused refresh token may still ask for it.
    pub refresh_grace: Duration,
}

impl Tokens {
    /// Reads `JWT_SECRET_KEY`, `JWT_ADDITIONAL_SECRET_KEYS`, the key pairs, `JWT_ISSUER`, `JWT_AUDIENCE`, the two lifetimes and
    /// `REFRESH_GRACE`.
    ///
    /// # Errors
    /// Where the secret is missing, a secret is shorter than 32 bytes (RFC 7518 §3.2), a key is none, or a number is none; and where the
    /// secret could not be listed among the additional ones, when its time is over.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let secret = |name, text: &str| {
            let expected = "at least 32 bytes long, with no comma in it and no white space around it";
            let listable = !text.contains(',') && text.trim() == text;
            let good = listable && text.len() >= policy::MIN_SECRET_BYTES;
            good.then(|| SecretString::from(text)).ok_or(ConfigError::Malformed { name, expected })
        };
        let (name, additional) = ("JWT_SECRET_KEY", "JWT_ADDITIONAL_SECRET_KEYS");
        let others = env.get(additional).into_iter().flat_map(|secrets| secrets.split(','));
        let audience = env.get("JWT_AUDIENCE").unwrap_or("jwt-auth").to_owned();
        if audience == Self::refresh_audience(issuer(env)) {
            return Err(ConfigError::Malformed {
                name: "JWT_AUDIENCE",
                expected: "another audience than that of refresh tokens",
            });
        }
        Ok(Self {
            secret: secret(name, env.required(name, "the secret that signs tokens, at least 32 random bytes")?)?,
            additional_secrets: others.map(|text| secret(additional, text.trim())).collect::<Result<_, _>>()?,
            key_pairs: key_pairs(env)?,
            issuer: issuer(env).to_owned(),
            audience,
            access_lifetime: env.lifetime("JWT_ACCESS_TOKEN_EXPIRES", policy::ACCESS_TOKEN_LIFETIME)?,
            session_lifetime: env.lifetime("JWT_REFRESH_TOKEN_EXPIRES", policy::SESSION_LIFETIME)?,
            refresh_grace: env.seconds("REFRESH_GRACE", policy::REFRESH_GRACE)?,
        })
    }
}

impl Tokens {
    /// The `aud` of refresh tokens: one that nobody else checks for, so that no other service takes one for an access token.
    #[must_use]
    pub fn refresh_audience(issuer: &str) -> String {
        format!("{issuer}/refresh")
    }
}

fn issuer(env: &Environment) -> &str {
    env.get("JWT_ISSUER").unwrap_or("jwt-auth")
}

/// Reads `JWT_PRIVATE_KEY` and `JWT_ADDITIONAL_PUBLIC_KEYS`, each in PEM; line breaks may be written as `\n`, as some consoles do.
fn key_pairs(env: &Environment) -> Result<KeyPairs, ConfigError> {
    let pem = |name| env.get(name).map(|pem| pem.replace("\\n", "\n"));
    let private = pem("JWT_PRIVATE_KEY").map(|pem| {
        let expected = "a private key in PEM (PKCS#8): RSA of 2048 bits or more, EC P-256, or Ed25519";
        PrivateKey::from_pem(&pem.into()).ok_or(ConfigError::Malformed { name: "JWT_PRIVATE_KEY", expected })
    });
    let private = private.transpose()?;
    if private.is_some() && !issuer(env).starts_with("https://") {
        let expected = "an https URL where JWT_PRIVATE_KEY is set: it is where others look for the keys";
        return Err(ConfigError::Malformed { name: "JWT_ISSUER", expected });
    }
    let additional = pem("JWT_ADDITIONAL_PUBLIC_KEYS").unwrap_or_default();
    let additional =
        additional.split_inclusive("-----END PUBLIC KEY-----").filter(|pem| !pem.trim().is_empty()).map(|pem| {
            let expected = "public keys in PEM, one after the other: RSA of 2048 bits or more, EC P-256, or Ed25519";
            PublicKey::from_pem(pem.trim())
                .ok_or(ConfigError::Malformed { name: "JWT_ADDITIONAL_PUBLIC_KEYS", expected })
        });
    Ok(KeyPairs::new(private, additional.collect::<Result<_, _>>()?))
}

/// What others need to verify access tokens.
pub struct Discovery {
    /// `iss`.
    pub issuer: String,
    /// The keys.
    pub key_pairs: KeyPairs,
}

impl Discovery {
    /// Reads `JWT_ISSUER`, `JWT_PRIVATE_KEY` and `JWT_ADDITIONAL_PUBLIC_KEYS`; the secret is none of its business.
    ///
    /// # Errors
    /// Where one is malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { issuer: issuer(env).to_owned(), key_pairs: key_pairs(env)? })
    }
}

/// What a new password must be.
pub struct PasswordRules {
    /// The least number of characters.
    pub min_length: usize,
    /// Whether common passwords, and parts of the account's own name and address, are refused.
    pub blocklist: bool,
}

impl PasswordRules {
    /// Reads `PASSWORD_MIN_LENGTH` and `PASSWORD_BLOCKLIST`. Warns below the recommended length.
    ///
    /// # Errors
    /// Where the length is none, or below 8, where no list and no hash protects a password any more.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let (name, expected) = ("PASSWORD_MIN_LENGTH", "a whole number from 8 to 128");
        let min_length = env.parsed(name, expected, policy::PASSWORD_MIN_LENGTH)?;
        if !(policy::PASSWORD_MIN_LENGTH_FLOOR..=policy::PASSWORD_MAX_LENGTH).contains(&min_length) {
            return Err(ConfigError::Malformed { name, expected });
        }
        if min_length < policy::PASSWORD_MIN_LENGTH {
            warn!(min_length, "{name} is below {}, the least NIST SP 800-63B-4 allows", policy::PASSWORD_MIN_LENGTH);
        }
        Ok(Self { min_length, blocklist: env.switch("PASSWORD_BLOCKLIST")? })
    }
}

/// How a password is checked at sign-in.
pub struct Signin {
    /// Whether hashes of older kinds are replaced by the current kind.
    pub rehash: bool,
    /// The least time a failed sign-in takes.
    pub floor: Duration,
}

impl Signin {
    /// Reads `PASSWORD_REHASH` and `SIGNIN_FLOOR_MS`.
    ///
    /// # Errors
    /// Where one is malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { rehash: env.switch("PASSWORD_REHASH")?, floor: env.milliseconds("SIGNIN_FLOOR_MS", Duration::ZERO)? })
    }
}

/// How long an answer of forgot-password takes, whatever it found.
pub struct ForgotPassword {
    /// The time of every answer, in which the mail is attempted.
    pub floor: Duration,
    /// The page the mail's link leads to, without the token; unset: the page of the API the request came in at.
    pub reset_url: Option<String>,
}

impl ForgotPassword {
    /// Reads `FORGOT_PASSWORD_FLOOR_MS` and `RESET_PASSWORD_URL`.
    ///
    /// # Errors
    /// Where one is malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let reset_url = env.get("RESET_PASSWORD_URL").map(|url| url.trim_end_matches('/').to_owned());
        if reset_url.as_ref().is_some_and(|url| !is_http_url(url)) {
            let expected = "an http(s) URL of visible ASCII characters, without a query";
            return Err(ConfigError::Malformed { name: "RESET_PASSWORD_URL", expected });
        }
        Ok(Self { floor: env.milliseconds("FORGOT_PASSWORD_FLOOR_MS", policy::FORGOT_PASSWORD_FLOOR)?, reset_url })
    }
}

/// How mail is sent.
pub struct Mail {
    /// The sender's address.
    pub from: String,
    /// The SES configuration set that mails go through, if any but the identity's own.
    pub configuration_set: Option<String>,
    /// Where SES is, if not where the AWS SDK would look for it.
    pub endpoint: Option<String>,
}

impl Mail {
    /// Reads `MAIL_FROM`, `MAIL_CONFIGURATION_SET`, and `AWS_ENDPOINT_URL_SES` or `AWS_ENDPOINT_URL`. Region and credentials are the SDK's own variables.
    ///
    /// # Errors
    /// Where the sender is missing, or the endpoint no URL.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let name = "MAIL_FROM";
        let from = env.required(name, "the sender of mails, an address SES has verified")?.to_owned();
        if !from.contains('@') {
            return Err(ConfigError::Malformed { name, expected: "an address" });
        }
        let configuration_set = env.get("MAIL_CONFIGURATION_SET").map(str::to_owned);
        Ok(Self { from, configuration_set, endpoint: env.aws_endpoint("AWS_ENDPOINT_URL_SES")? })
    }
}

/// What `migrate` does beside migrating.
pub struct Migrate {
    /// The role that the other functions log in as, if it is to be made and granted what they need.
    pub functions_role: Option<String>,
}

impl Migrate {
    /// Reads `FUNCTIONS_ROLE`.
    ///
    /// # Errors
    /// Where it is no plain name: it stands in SQL, where a name cannot be a parameter.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let functions_role = env.get("FUNCTIONS_ROLE").map(str::to_owned);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name =
            |role: &String| role.len() < 64 && role.bytes().all(plain) && !role.as_bytes()[0].is_ascii_digit();
        if !functions_role.as_ref().is_none_or(is_name) {
            let expected = "a role's name of small ASCII letters, digits and _";
            return Err(ConfigError::Malformed { name: "FUNCTIONS_ROLE", expected });
        }
        Ok(Self { functions_role })
    }
}

/// The DynamoDB table for what is hot and expires by itself.
pub struct StateTable {
    /// Its name.
    pub name: String,
    /// Where DynamoDB is, if not where the AWS SDK would look for it.
    pub endpoint: Option<String>,
}

impl StateTable {
    /// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. `None` where no table is named: PostgreSQL keeps the
    /// counters.
    ///
    /// # Errors
    /// Where the endpoint is malformed.
    pub fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(name) = env.get("STATE_TABLE") else { return Ok(None) };
        Ok(Some(Self { name: name.to_owned(), endpoint: env.aws_endpoint("AWS_ENDPOINT_URL_DYNAMODB")? }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::*,
        property_test,
        sample::{Index, select},
    };
    use secrecy::ExposeSecret;

    use super::*;
    use crate::arbitrary;

    fn env(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    const SECRET: (&str, &str) = ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef");

    #[test]
    fn the_defaults_are_the_contract() {
        let tokens = Tokens::from_env(&env(&[SECRET])).unwrap();
        assert_eq!((tokens.issuer.as_str(), tokens.audience.as_str()), ("jwt-auth", "jwt-auth"));
        assert_eq!(tokens.access_lifetime.as_secs(), 3600);
        assert_eq!(tokens.session_lifetime.as_secs(), 604_800);
        assert_eq!(tokens.refresh_grace.as_secs(), 10);
        let rules = PasswordRules::from_env(&env(&[])).unwrap();
        assert_eq!((rules.min_length, rules.blocklist), (15, true));
        let signin = Signin::from_env(&env(&[])).unwrap();
        assert_eq!((signin.rehash, signin.floor), (true, Duration::ZERO));
        assert_eq!(ForgotPassword::from_env(&env(&[])).unwrap().floor, Duration::from_secs(1));
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        let tokens = Tokens::from_env(&env(&[SECRET, ("JWT_ISSUER", ""), ("REFRESH_GRACE", "")])).unwrap();
        assert_eq!((tokens.issuer.as_str(), tokens.refresh_grace.as_secs()), ("jwt-auth", 10));
        let missing = Tokens::from_env(&env(&[("JWT_SECRET_KEY", "")])).err().unwrap();
        assert!(missing.to_string().starts_with("JWT_SECRET_KEY is not set"));
    }

    // Requirement 10.
    #[test]
    fn a_refusal_names_the_variable_and_keeps_its_value_to_itself() {
        let short = Tokens::from_env(&env(&[("JWT_SECRET_KEY", "hunter2")])).err().unwrap().to_string();
        assert!(short.contains("JWT_SECRET_KEY") && !short.contains("hunter2"));
        for (name, value) in [
            ("JWT_ACCESS_TOKEN_EXPIRES", "1h"),
            ("JWT_ACCESS_TOKEN_EXPIRES", "0"),
            ("JWT_REFRESH_TOKEN_EXPIRES", "-1"),
            ("REFRESH_GRACE", "ten"),
        ] {
            let refused = Tokens::from_env(&env(&[SECRET, (name, value)])).err().unwrap();
            assert!(refused.to_string().contains(name), "{name}={value}");
        }
        for (name, value) in
            [("PASSWORD_MIN_LENGTH", "7"), ("PASSWORD_MIN_LENGTH", "129"), ("PASSWORD_BLOCKLIST", "yes")]
        {
            let refused = PasswordRules::from_env(&env(&[(name, value)])).err().unwrap();
            assert!(refused.to_string().contains(name), "{name}={value}");
        }
        assert!(Signin::from_env(&env(&[("SIGNIN_FLOOR_MS", "10001")])).is_err());
        assert!(ForgotPassword::from_env(&env(&[("RESET_PASSWORD_URL", "example.com")])).is_err());
        for url in ["http://", "http:// bad", "https://x/reset?a=b", "example.com", "ftp://x"] {
            assert!(ForgotPassword::from_env(&env(&[("RESET_PASSWORD_URL", url)])).is_err(), "{url}");
        }
        assert!(Mail::from_env(&env(&[])).is_err() && Mail::from_env(&env(&[("MAIL_FROM", "nobody")])).is_err());
        assert!(Tokens::from_env(&env(&[SECRET, ("JWT_AUDIENCE", "jwt-auth/refresh")])).is_err());
        assert!(Mail::from_env(&env(&[("MAIL_FROM", "a@b.c"), ("AWS_ENDPOINT_URL", "localhost:8005")])).is_err());
    }

    #[test]
    fn an_empty_endpoint_is_the_sdks_own() {
        let endpoint = |ses: &str, any: &str| {
            let mail = env(&[("MAIL_FROM", "a@b.c"), ("AWS_ENDPOINT_URL_SES", ses), ("AWS_ENDPOINT_URL", any)]);
            Mail::from_env(&mail).unwrap().endpoint
        };
        assert_eq!(endpoint("", ""), None);
        assert_eq!(endpoint("", "http://any"), Some("http://any".to_owned()));
        assert_eq!(endpoint("http://ses", "http://any"), Some("http://ses".to_owned()));
    }

    fn database(variables: &[(&str, &str)], host: &str) -> Result<Database, ConfigError> {
        let url = format!("postgres://u:p@{host}/d");
        Database::from_env(&env(&[variables, &[("DATABASE_URL", url.as_str())]].concat()))
    }

    #[test]
    fn a_database_beyond_this_machine_is_verified_unless_that_is_off() {
        let verified = |tls: &str, host: &str| database(&[("DATABASE_TLS", tls)], host).unwrap().authorities.is_some();
        assert!(!verified("", "127.0.0.1") && !verified("", "localhost") && !verified("off", "db.internal"));
        assert!(verified("", "db.internal") && verified("verify", "db.internal") && verified("verify", "localhost"));
        let elsewhere = "postgres://u@localhost/d?hostaddr=10.255.255.1";
        assert!(Database::from_env(&env(&[("DATABASE_URL", elsewhere)])).unwrap().authorities.is_some());
        assert!(database(&[("DATABASE_TLS", "on")], "db.internal").is_err());
    }

    #[test]
    fn the_authorities_are_those_of_rds_those_of_the_system_or_a_file() {
        let authorities =
            |ca: &str| database(&[("DATABASE_CA", ca)], "db.internal").map(|found| found.authorities.unwrap().len());
        assert_eq!(authorities("").unwrap(), authorities("rds").unwrap());
        assert!(authorities("rds").unwrap() > 90, "every region has two or three");
        let rds = concat!(env!("CARGO_MANIFEST_DIR"), "/certificates/rds.pem");
        assert_eq!(authorities(rds).unwrap(), authorities("rds").unwrap());
        for none in ["/nowhere/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            assert!(authorities(none).unwrap_err().to_string().starts_with("DATABASE_CA is malformed"), "{none}");
        }
    }

    #[test]
    fn iam_signs_for_one_host_and_one_user_and_nobody_sends_its_token_in_the_clear() {
        let iam = |tls: &str, host: &str| database(&[("DATABASE_AUTH", "iam"), ("DATABASE_TLS", tls)], host);
        assert!(iam("", "db.internal").unwrap().iam && iam("", "localhost").unwrap().iam);
        assert!(!database(&[], "db.internal").unwrap().iam);
        let refused = |tls, host| iam(tls, host).err().unwrap().to_string();
        assert!(refused("off", "db.internal").starts_with("DATABASE_TLS"));
        assert!(refused("", "a.internal,b.internal").starts_with("DATABASE_URL"));
        let odd = env(&[("DATABASE_AUTH", "iam"), ("DATABASE_URL", "postgres://a%26b@db.internal/d")]);
        assert!(Database::from_env(&odd).is_err());
    }

    #[test]
    fn the_functions_role_is_a_plain_name() {
        let role =
            |name: &str| Migrate::from_env(&env(&[("FUNCTIONS_ROLE", name)])).map(|migrate| migrate.functions_role);
        assert_eq!(role(""), Ok(None));
        assert_eq!(role("jwt_auth2"), Ok(Some("jwt_auth2".to_owned())));
        for odd in ["2jwt", "Jwt", "jwt auth", "jwt;--", "jwt-auth", "jwt\"", &"a".repeat(64)] {
            assert!(role(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_database_url_is_a_url() {
        for url in [
            "",
            "localhost",
            "mysql://u@h/d",
            "host=localhost",
            "postgres://u@h:port/d",
            "postgres://",
            "postgres:///d",
        ] {
            assert!(Database::from_env(&env(&[("DATABASE_URL", url)])).is_err(), "{url}");
        }
    }

    #[test]
    fn a_parameter_of_another_driver_is_named_with_what_to_do_instead() {
        for (parameter, named, instead) in [
            ("sslmode=verify-full", "`sslmode`", "DATABASE_TLS"),
            ("sslmode=require&sslrootcert=system", "`sslrootcert`", "DATABASE_CA"),
            ("sslrootcert=/etc/ca.pem", "`sslrootcert`", "DATABASE_CA"),
            ("application_name=x&pgbouncer=true", "`pgbouncer`", "poolers"),
            ("schema=auth", "`schema`", "search_path"),
        ] {
            let url = format!("postgres://user:hunter2@db.internal/database?{parameter}");
            let refusal = Database::from_env(&env(&[("DATABASE_URL", &url)])).err().unwrap().to_string();
            assert!(refusal.contains(named) && refusal.contains(instead) && !refusal.contains("hunter2"), "{refusal}");
        }
        let mysql = Database::from_env(&env(&[("DATABASE_URL", "mysql://user:hunter2@db.internal/database")]));
        assert!(mysql.err().unwrap().to_string().contains("of PostgreSQL"));
    }

    /// Every variable, with a value that is one.
    const GOOD: [(&str, &str); 21] = [
        SECRET,
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL_DYNAMODB", ""),
        ("AWS_ENDPOINT_URL_SES", ""),
        ("DATABASE_AUTH", "password"),
        ("DATABASE_TLS", "off"),
        ("DATABASE_URL", "postgres://user:password@db.internal/database"),
        ("FORGOT_PASSWORD_FLOOR_MS", "1000"),
        ("JWT_ACCESS_TOKEN_EXPIRES", "3600"),
        ("JWT_ADDITIONAL_PUBLIC_KEYS", ""),
        ("JWT_ADDITIONAL_SECRET_KEYS", ""),
        ("JWT_AUDIENCE", "jwt-auth"),
        ("JWT_ISSUER", "https://api.example.com"),
        ("JWT_PRIVATE_KEY", ""),
        ("JWT_REFRESH_TOKEN_EXPIRES", "604800"),
        ("MAIL_FROM", "no-reply@example.com"),
        ("PASSWORD_BLOCKLIST", "on"),
        ("PASSWORD_MIN_LENGTH", "15"),
        ("RESET_PASSWORD_URL", "https://example.com/reset"),
        ("SIGNIN_FLOOR_MS", "0"),
        ("STATE_TABLE", "state"),
    ];

    fn every_function_starts(env: &Environment) -> Result<(), ConfigError> {
        Database::from_env(env)?;
        Tokens::from_env(env)?;
        Discovery::from_env(env)?;
        PasswordRules::from_env(env)?;
        Signin::from_env(env)?;
        ForgotPassword::from_env(env)?;
        Mail::from_env(env)?;
        StateTable::from_env(env).map(drop)
    }

    // Requirement 10.
    #[property_test]
    fn one_wrong_variable_is_named_and_its_value_is_not(
        #[strategy = select(&GOOD[..])] (name, good): (&'static str, &'static str),
        #[strategy = prop_oneof![
            arbitrary::text(),
            select(&GOOD[..]).prop_flat_map(|(_, good)| arbitrary::damaged(good)),
            "postgres(ql)?://[a-z0-9@:/?=&,%.\\[\\]]{0,20}",
            "https?://[a-z0-9@:/?=&,%.\\[\\]]{0,20}",
        ]]
        value: String,
    ) {
        assert_eq!(every_function_starts(&env(&GOOD)), Ok(()));
        for value in [&value, &format!("{value}hunter2"), &format!("hunter2{good}")] {
            let environment = env(&GOOD).0.into_iter().chain([(name.to_owned(), value.clone())]).collect();
            if let Err(refusal) = every_function_starts(&environment) {
                let refusal = refusal.to_string();
                assert!(refusal.starts_with(&format!("{name} is ")) && !refusal.contains("hunter2"), "{refusal}");
            }
        }
    }

    #[property_test]
    fn a_number_is_taken_as_it_is_written_or_refused(#[strategy = r"-?[0-9]{1,11}|\d|1[0-3]\d|10{3}\d"] text: String) {
        let number = text.parse::<u64>().ok();
        let tokens = Tokens::from_env(&env(&[SECRET, ("JWT_REFRESH_TOKEN_EXPIRES", &text)]));
        let seconds = tokens.ok().map(|tokens| tokens.session_lifetime.as_secs());
        assert_eq!(seconds, number.filter(|seconds| (1..=u32::MAX.into()).contains(seconds)));
        let signin = Signin::from_env(&env(&[("SIGNIN_FLOOR_MS", &text)]));
        let milliseconds = signin.ok().map(|signin| signin.floor.as_millis().try_into().unwrap());
        assert_eq!(milliseconds, number.filter(|milliseconds| *milliseconds <= 10_000));
        let rules = PasswordRules::from_env(&env(&[("PASSWORD_MIN_LENGTH", &text)]));
        let characters = rules.ok().map(|rules| rules.min_length.try_into().unwrap());
        assert_eq!(characters, number.filter(|characters| (8..=128).contains(characters)));
    }

    // Requirements 10, 39.
    #[property_test]
    fn a_secret_that_signs_is_long_and_can_be_listed_when_its_time_is_over(
        #[strategy = r"(?s)[ ,\t]?(.{20,40}|[!-+\--~]{30,36})[ ,\n]?"] secret: String,
    ) {
        let signing = Tokens::from_env(&env(&[("JWT_SECRET_KEY", &secret)]));
        let listed = format!("{}, {secret}", SECRET.1);
        let listed = Tokens::from_env(&env(&[SECRET, ("JWT_ADDITIONAL_SECRET_KEYS", &listed)]));
        match signing {
            Ok(signing) => {
                assert!(signing.secret.expose_secret() == secret && secret.len() >= 32);
                let listed = listed.unwrap().additional_secrets;
                assert_eq!(listed.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), [SECRET.1, &secret]);
            }
            Err(_) => assert!(secret.len() < 32 || secret.contains(',') || secret.trim() != secret),
        }
    }

    fn reset_url(url: &str) -> Option<String> {
        ForgotPassword::from_env(&env(&[("RESET_PASSWORD_URL", url)])).ok()?.reset_url
    }

    #[property_test]
    fn a_link_to_the_reset_page_is_visible_ascii_and_can_carry_a_token(
        #[strategy = r"https?://[a-z0-9-]{1,8}([.][a-z0-9-]{1,8}){0,3}(:[0-9]{1,4})?(/[a-zA-Z0-9._~%-]{1,8}){0,3}"] url: String,
        #[strategy = "(?s)/.{0,10}|[/#?].{1,5}|[#/?a-z]{0,5}"] more: String,
    ) {
        assert_eq!(reset_url(&url).as_ref(), Some(&url));
        assert_eq!(reset_url(&format!("{url}//")).as_ref(), Some(&url));
        if let Some(page) = reset_url(&format!("{url}{more}")) {
            assert!(page.bytes().all(|byte| byte.is_ascii_graphic()) && !page.ends_with('/'), "{page}");
            assert!(!page.split('#').next().unwrap().contains('?'), "{page}");
        }
    }

    #[property_test]
    fn one_host_beyond_this_machine_is_one_too_many_for_a_plain_connection(
        #[strategy = vec("localhost|127[.]0[.]0[.]1|127[.]8[.]8[.]8|[\\[]::1[\\]]|%2Frun", 1..4)] mut hosts: Vec<
            String,
        >,
        #[strategy = "db[.]internal|10[.]0[.]0[.]7|[\\[]2001:db8::1[\\]]|0[.]0[.]0[.]0|localhost[.]example|"]
        beyond: String,
        at: Index,
    ) {
        let database = |hosts: &[String]| {
            let url = format!("postgres://u:p@{}/d", hosts.join(","));
            Database::from_env(&env(&[("DATABASE_URL", &url)])).unwrap().authorities
        };
        assert!(database(&hosts).is_none());
        hosts.insert(at.index(hosts.len() + 1), beyond);
        assert!(database(&hosts).is_some());
    }
}
