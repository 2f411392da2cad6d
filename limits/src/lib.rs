//! What the programs in `examples/` share. Each program is a Lambda function that does only the unavoidable part of the work of some functions of the
//! service. So its time is a lower bound for their times. `cargo xtask bench` compares the two.
//!
//! The programs are Cargo examples, so that only `cargo xtask bench` and clippy compile them.

use lambda_http::{Error, Request, run, service_fn};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, Statement, config::SslMode, types::Type};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The value of an environment variable.
///
/// # Errors
/// If it is not set.
#[expect(clippy::disallowed_methods, reason = "these programs do not use the configuration of the functions")]
pub fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|problem| format!("{name}: {problem}").into())
}

/// A connection, and the statement once it is prepared.
type Connection = (Client, Option<Statement>);

/// Answers every event with the text in the first column of this statement's row. The statement's only parameter is 1, as a `bigint`.
///
/// Each event takes one round trip, except the first one, which connects, and the second one, which prepares the statement.
///
/// # Errors
/// If the Lambda runtime interface fails.
pub async fn serve_statement(sql: &'static str) -> Result<(), Error> {
    let connection = Mutex::new(None);
    let connection = &connection;
    run(service_fn(move |_: Request| async move { query(&mut *connection.lock().await, sql).await })).await
}

async fn query(connection: &mut Option<Connection>, sql: &str) -> Result<String, Error> {
    const ID: i64 = 1;
    let Some((client, prepared)) = connection else {
        let client = connect().await?;
        let rows = client.query_typed(sql, &[(&ID, Type::INT8)]).await?;
        *connection = Some((client, None));
        return Ok(rows.first().ok_or("there is no row")?.get(0));
    };
    let statement = match prepared {
        Some(statement) => statement,
        None => prepared.insert(client.prepare(sql).await?),
    };
    Ok(client.query_one(&*statement, &[&ID]).await?.get(0))
}

/// Connects with TLS if `DATABASE_CA` names a file with the certificate of an authority.
async fn connect() -> Result<Client, Error> {
    let url = variable("DATABASE_URL")?;
    let Ok(authority) = variable("DATABASE_CA") else {
        let (client, driver) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(driver);
        return Ok(client);
    };
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_file(authority)?)?;
    let tls = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
    let mut config: Config = url.parse()?;
    let (client, driver) = config.ssl_mode(SslMode::Require).connect(MakeRustlsConnect::new(tls)).await?;
    tokio::spawn(driver);
    Ok(client)
}
