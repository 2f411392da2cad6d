//! A PostgreSQL server on which users log in as on RDS.
//!
//! RDS refuses the password of every direct or indirect member of the role `rds_iam`. Such a user sends a login token instead, and RDS asks AWS
//! whether the token is valid. Every other user logs in with a password. RDS does this with a line `+rds_iam … pam` in `pg_hba.conf` and its own
//! PAM module. Here, a proxy in front of a real server does it.
//!
//! Three things differ from RDS:
//!
//! - On RDS, the owner may grant `rds_iam`, because AWS has changed PostgreSQL. An unchanged PostgreSQL 15 allows this grant to every role with
//!   CREATEROLE. Later versions allow it only to members of `rds_iam` with ADMIN OPTION. So here the superuser makes the owner such a member, and
//!   the proxy ignores this membership when it decides how the owner logs in.
//! - AWS also checks whether the signer of the token has the permission `rds-db:connect`.
//! - The connections are not encrypted.

mod login_token;

use std::sync::Arc;

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_postgres::{Client, NoTls, error::SqlState};

pub use self::login_token::LoginToken;
use crate::{
    Postgres,
    database::TestDatabase,
    postgres_proxy::{read_message, read_string},
};

/// A running server with a role `rds_iam` and an owner who is no superuser.
pub struct Rds {
    server: Arc<Postgres>,
    /// The port where the proxy listens.
    port: u16,
}

/// The server requires no password on connections from this address. Only the proxy connects from it, after it has checked a token.
const TRUSTED: &str = "127.0.0.2";
const HBA: &str = "host all all 127.0.0.2/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

impl Rds {
    /// The owner of the tables, like the master user of RDS.
    pub const OWNER: &str = "owner";
    /// The password that the owner has from the beginning.
    pub const PASSWORD: &str = "the-first-password";

    /// Starts a server of this major version.
    pub async fn start(version: u32) -> Self {
        let server = Arc::new(Postgres::of_version(version, &[]).await);
        server.write_file("pg_hba.conf", HBA);
        server.reload().await;
        let superuser = server.connect().await;
        let roles = format!(
            "CREATE ROLE rds_iam; CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD '{}'",
            Self::OWNER,
            Self::PASSWORD
        );
        superuser.batch_execute(&roles).await.expect("the superuser may create roles");
        if version >= 16 {
            let may_grant = format!("GRANT rds_iam TO {} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE", Self::OWNER);
            superuser.batch_execute(&may_grant).await.expect("the superuser may grant roles");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let behind = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, port, Arc::clone(&behind)));
            }
        });
        Self { server, port }
    }

    /// Creates an empty database that belongs to the owner.
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::owned_by(&self.server, Self::OWNER).await
    }

    /// The URL of a database for this user. The login is `user` or `user:password`.
    #[must_use]
    pub fn url(&self, login: &str, database: &TestDatabase) -> String {
        format!("postgres://{login}@{}/{}", self.address(), database.name())
    }

    /// Logs in to a database.
    ///
    /// # Errors
    /// The code with which the server refuses the login.
    pub async fn log_in(&self, database: &TestDatabase, user: &str, password: &str) -> Result<Client, SqlState> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(database.name()).user(user).password(password);
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(client)
            }
            Err(problem) => Err(problem.code().expect("the server answers").clone()),
        }
    }

    /// A token with which this user can log in now.
    #[must_use]
    pub fn token(&self, user: &str) -> LoginToken {
        LoginToken::new(&self.address(), user)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Serves a client of the proxy at this port. Returns when either side closes the connection.
async fn serve(mut client: TcpStream, port: u16, server: Arc<Postgres>) {
    let Some(startup) = read_message(&mut client, false).await else { return };
    let user = user(&startup);
    let mut from = "127.0.0.1";
    if logs_in_with_iam(&server, &user).await {
        let Some(token) = ask_for_password(&mut client).await else { return };
        if !LoginToken::new(&format!("127.0.0.1:{port}"), &user).accepts(&token) {
            refuse(&mut client, &user).await;
            return;
        }
        from = TRUSTED;
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("the machine has the address");
    let server = format!("127.0.0.1:{}", server.port).parse().expect("an address");
    let Ok(mut server) = socket.connect(server).await else { return };
    if server.write_all(&startup).await.is_ok() {
        // An error means that one side closed the connection.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

/// The user in a `StartupMessage`: length, version, then names and values. Empty in a `CancelRequest`, which needs no login.
fn user(startup: &[u8]) -> String {
    let mut rest = &startup[8..];
    while rest.len() > 1 {
        let (name, after_name) = read_string(rest);
        let (value, after_value) = read_string(after_name);
        if name == "user" {
            return value;
        }
        rest = after_value;
    }
    String::new()
}

/// Whether the user is a direct or indirect member of `rds_iam`. Ignores the membership that [`Rds::start`] grants the owner. The superuser, whose
/// id is 10 on every server, granted it.
const LOGS_IN_WITH_IAM: &str = "
    WITH RECURSIVE memberships AS (
        SELECT roleid, member FROM pg_auth_members
        WHERE NOT (roleid = 'rds_iam'::regrole AND member = 'owner'::regrole AND grantor = 10)
    ), roles AS (
        SELECT oid FROM pg_roles WHERE rolname = $1
        UNION
        SELECT roleid FROM memberships JOIN roles ON roles.oid = member
    )
    SELECT EXISTS (SELECT FROM roles WHERE oid = 'rds_iam'::regrole)";

async fn logs_in_with_iam(server: &Postgres, user: &str) -> bool {
    server.connect().await.query_one(LOGS_IN_WITH_IAM, &[&user]).await.expect("the server answers").get(0)
}

async fn ask_for_password(client: &mut TcpStream) -> Option<String> {
    const CLEARTEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
    client.write_all(&CLEARTEXT_PASSWORD).await.ok()?;
    let message = read_message(client, true).await?;
    Some(read_string(&message[5..]).0)
}

/// Answers as PostgreSQL does if its PAM module refuses a password.
async fn refuse(client: &mut TcpStream, user: &str) {
    let fields = format!("SFATAL\0VFATAL\0C28000\0MPAM authentication failed for user \"{user}\"\0\0");
    let length = u32::try_from(fields.len() + 4).expect("a short text");
    let message = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
    // An error means that the client does not wait for the answer.
    let _ = client.write_all(&message).await;
}
