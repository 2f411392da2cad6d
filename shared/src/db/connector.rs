//! Connecting to PostgreSQL, with the password of the URL or with an IAM login token, which is signed for each connection.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use deadpool_postgres::Connect;
use futures_util::{FutureExt, future::BoxFuture};
use lambda_http::http;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Cause, ConnectionSettings};
use crate::{domain::UnixTime, security::policy, system};

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Connects to the configured database.
pub struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    /// Signs login tokens, if the role logs in with IAM.
    iam: Option<SdkConfig>,
}

impl Connector {
    /// A connector. It does not connect yet.
    #[must_use]
    pub fn new(settings: ConnectionSettings) -> Self {
        let ConnectionSettings { connection: mut config, authorities, iam, .. } = settings;
        config.ssl_mode(if authorities.is_some() { SslMode::Require } else { SslMode::Disable });
        Self { config, tls: MakeRustlsConnect::new(tls(authorities)), iam }
    }

    /// The TLS settings, for requests to cancel a statement.
    #[must_use]
    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Connects. The client works only while the connection is polled.
    ///
    /// # Errors
    /// If the server cannot be reached, its certificate is not valid, or it refuses the login.
    pub async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
        let mut config = self.config.clone();
        if let Some(sdk) = &self.iam {
            match token(&config, sdk).await {
                Ok(token) => drop(config.password(token)),
                // Without a token, the login fails.
                Err(problem) => tracing::error!(%problem, "the IAM login token for the database could not be signed"),
            }
        }
        config.connect(self.tls()).await
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let connected = self.connect().map(|connected| {
            let (client, connection) = connected?;
            // When the pool drops the client, it aborts the task that it got. An aborted connection could not tell PostgreSQL that it ends, and
            // PostgreSQL would log an error. So the pool gets a task that only waits, and the connection runs in a task of its own.
            let (of_client, client_dropped) = oneshot::channel::<()>();
            let held_by_pool = tokio::spawn(async move {
                let _of_client = of_client;
                std::future::pending::<()>().await;
            });
            tokio::spawn(async move {
                // If the connection has ended, the next statement on the client fails. So the result of the connection is not needed.
                let mut connection = pin!(connection);
                tokio::select! {
                    _ = &mut connection => {}
                    // A server that does not answer must not keep the connection open.
                    _ = client_dropped => drop(timeout(policy::DATABASE_CANCEL, connection).await),
                }
            });
            Ok((client, held_by_pool))
        });
        connected.boxed()
    }
}

fn tls(authorities: Option<RootCertStore>) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(authorities.unwrap_or_else(RootCertStore::empty))
        .with_no_client_auth()
}

async fn token(config: &Config, sdk: &SdkConfig) -> Result<String, Cause> {
    let region = sdk.region().ok_or("AWS_REGION is not set")?;
    let credentials = sdk.credentials_provider().ok_or("there are no AWS credentials")?.provide_credentials().await?;
    let ([Host::Tcp(host)], Some(user)) = (config.get_hosts(), config.get_user()) else {
        return Err("DATABASE_URL names no host or no user".into());
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    sign_token(host, port, user, region.as_ref(), credentials, system::now().seconds())
}

/// How long a token can be used to log in. RDS accepts 15 minutes at most. A connection may last longer.
const TOKEN_LIFETIME: Duration = Duration::from_mins(15);

/// A login token for RDS: the URL of a request that is never sent, without its scheme, and with its signature in the query (AWS Signature
/// Version 4).
fn sign_token(
    host: &str,
    port: u16,
    user: &str,
    region: &str,
    credentials: Credentials,
    now: UnixTime,
) -> Result<String, Cause> {
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(TOKEN_LIFETIME);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(UNIX_EPOCH + Duration::from_secs(now.0.unsigned_abs()))
        .settings(settings)
        .build()?;
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let unsigned = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (signature, _) = sign(unsigned, &params.into())?.into_parts();
    let mut request = http::Request::get(&url).body(())?;
    signature.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string().trim_start_matches("https://").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected tokens were made with botocore 1.44.
    #[test]
    fn a_token_is_the_one_that_the_aws_sdks_sign() {
        let host = "prod-instance.us-east-1.rds.amazonaws.com";
        let unsigned = format!(
            "{host}:3306/?Action=connect&DBUser=peccy&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240827%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20240827T000000Z\
             &X-Amz-Expires=900&X-Amz-SignedHeaders=host"
        );
        for (session, signed) in [
            (None, "&X-Amz-Signature=c597c62a87de9174280571cea67bcecbaf0c0a979cff151de675c35276ff4e20"),
            (
                Some("session/token+="),
                "&X-Amz-Signature=864733ba1fb8c97bb261599807abdc8839d00a6c4788f8d89267f327a347d53c\
                 &X-Amz-Security-Token=session%2Ftoken%2B%3D",
            ),
        ] {
            let credentials = Credentials::new("akid", "secret", session.map(str::to_owned), None, "test");
            let token = sign_token(host, 3306, "peccy", "us-east-1", credentials, UnixTime(1_724_716_800)).unwrap();
            assert_eq!(token, format!("{unsigned}{signed}"));
        }
    }
}
