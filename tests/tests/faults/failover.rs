//! PostgreSQL becomes read-only, or another server becomes the primary.

use tests::{Postgres, Shutdown, Stack, database::TestDatabase, wait_until};

use crate::fault::{Fault, request_every_endpoint, warm_up};

// Fault 3.
#[tokio::test]
async fn a_read_only_server_serves_requests_that_only_read() {
    let mut fault = Fault::new(3, "PostgreSQL is read-only, as before a failover (25006)");
    let server = Postgres::start(&[]).await;
    let stack = Stack::builder().with_database(TestDatabase::on(&server).await).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    let operator = server.connect().await;
    for statement in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        operator.batch_execute(statement).await.unwrap();
    }
    // `pg_reload_conf` returns before the open connections have the new setting. So some sign-ins may still succeed.
    wait_until("sign-ins fail", async || ada.tries_to_sign_in().await.status != 200).await;
    fault.record_unavailable(&[ada.tries_to_sign_in().await, ada.refreshes(&tokens.refresh).await]);
    fault.record_unavailable(&[stack.stranger("Bob").signs_up().await, ada.logs_out(&tokens.access).await]);
    fault.record_served(&ada.dashboard(&tokens.access).await);

    operator.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for statement in ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"] {
        operator.batch_execute(statement).await.unwrap();
    }
    fault.wait_for_recovery(|| Box::pin(ada.tries_to_sign_in())).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 3.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_failover_ends_when_the_host_name_resolves_to_the_new_primary() {
    const FUNCTIONS: [&str; 12] = [
        "account",
        "change-password",
        "dashboard",
        "forgot-password",
        "keep-account",
        "logout",
        "reauthenticate",
        "refresh",
        "reset-password",
        "sessions",
        "signin",
        "signup",
    ];
    let mut fault = Fault::new(3, "PostgreSQL fails over: a standby is promoted, and the host name resolves to it");
    let primary = Postgres::start(&[]).await;
    let standby = primary.standby("127.0.0.2").await;
    let database = TestDatabase::on(&primary).await;
    let hosts = HostsFile::new();
    hosts.resolve_to("127.0.0.1");
    let url = database.functions_url().replace("@127.0.0.1:", "@database.test:");
    let mut builder = Stack::builder().with("DATABASE_TLS", "off").with_database(database);
    for function in FUNCTIONS {
        builder =
            builder.with_for(function, "DATABASE_URL", &url).with_for(function, "LD_PRELOAD", "libnss_wrapper.so");
        builder = builder.with_for(function, "NSS_WRAPPER_HOSTS", &hosts.file);
    }
    let stack = builder.start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm_up(&ada).await;
    let replica = standby.connect().await;
    let written = stack.sql_text("SELECT pg_current_wal_lsn()::text").await;
    let replicated = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    wait_until("the standby has everything", async || replica.query_one(&replicated, &[]).await.unwrap().get(0)).await;

    primary.stop(Shutdown::Immediate).await;
    fault.record_unavailable(&request_every_endpoint(&ada, &stack.stranger("Bob"), &tokens).await);
    hosts.resolve_to("127.0.0.2");
    fault.record_unavailable(&[ada.refreshes(&tokens.refresh).await, ada.tries_to_sign_in().await]);
    fault.record_served(&ada.dashboard(&tokens.access).await);
    replica.execute("SELECT pg_promote()", &[]).await.unwrap();
    fault.wait_for_recovery(|| Box::pin(ada.tries_to_sign_in())).await;
    fault.assert_recovered(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// A hosts file that resolves `database.test`, for functions that run with `nss_wrapper`.
struct HostsFile {
    file: String,
}

impl HostsFile {
    fn new() -> Self {
        let name = format!("jwt-auth-hosts-{}", uuid::Uuid::new_v4().simple());
        Self { file: std::env::temp_dir().join(name).display().to_string() }
    }

    fn resolve_to(&self, address: &str) {
        std::fs::write(&self.file, format!("{address} database.test\n")).unwrap();
    }
}

impl Drop for HostsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
