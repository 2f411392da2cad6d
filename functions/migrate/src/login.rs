//! How `migrate` logs in as the owner of the tables: with the password in `DATABASE_URL`, or with IAM.

use secrecy::{ExposeSecret, SecretString};
use shared::{
    db::{ConnectionSettings, Connector},
    environment::{ConfigError, Environment},
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tracing::info;

use crate::error::{DatabaseError, Error};

/// The settings of the login.
pub struct Login {
    settings: ConnectionSettings,
    /// The owner's password, for a server that does not accept IAM for the owner yet.
    first_password: Option<SecretString>,
}

/// An open connection. It is polled in a task of its own, which ends when the client is dropped.
pub struct Connected {
    pub client: Client,
    pub connection: JoinHandle<Result<(), tokio_postgres::Error>>,
    pub connector: Connector,
}

impl Login {
    /// Reads the settings of the database, and `DATABASE_PASSWORD`, which is used only if `DATABASE_AUTH` is `iam`.
    ///
    /// # Errors
    /// If a setting of the database is missing or malformed.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let mut settings = ConnectionSettings::from_env(env)?;
        settings.connection.application_name("jwt-auth migrate");
        let first_password =
            env.optional("DATABASE_PASSWORD").filter(|_| settings.iam.is_some()).map(SecretString::from);
        Ok(Self { settings, first_password })
    }

    /// Whether the owner logs in with IAM. Then the functions do so, too.
    pub fn is_with_iam(&self) -> bool {
        self.settings.iam.is_some()
    }

    /// Connects. If the server refuses the login with IAM and there is a first password, logs in with this password.
    ///
    /// # Errors
    /// If the server refuses the login, or no connection can be opened for another reason.
    pub async fn connect(&self) -> Result<Connected, Error> {
        let refusal = match connect(self.settings.clone()).await {
            Err(problem) if problem.is_refused_login() => problem.message().to_owned(),
            outcome => return outcome.map_err(|problem| Error::Unreachable(problem.message().to_owned())),
        };
        let Some(password) = &self.first_password else { return Err(Error::LoginRefused(refusal)) };
        info!(refusal, "the server does not accept IAM for the owner yet, so this login uses DATABASE_PASSWORD");
        let mut settings = ConnectionSettings { iam: None, ..self.settings.clone() };
        settings.connection.password(password.expose_secret());
        connect(settings).await.map_err(|problem| {
            let both = format!("{refusal}; with DATABASE_PASSWORD: {}", problem.message());
            if problem.is_refused_login() { Error::LoginRefused(both) } else { Error::Unreachable(both) }
        })
    }
}

async fn connect(settings: ConnectionSettings) -> Result<Connected, DatabaseError> {
    let connector = Connector::new(settings);
    let (client, connection) = Box::pin(connector.connect()).await?;
    Ok(Connected { client, connection: tokio::spawn(connection), connector })
}
