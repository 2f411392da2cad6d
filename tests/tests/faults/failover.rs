//! The server that was written to is not the one to write to any more.

use tests::{Postgres, Shutdown, Stack, database::TestDatabase};

use crate::fault::{Fault, everything, warm};

// Fault 3.
#[tokio::test]
async fn a_server_that_may_only_be_read_serves_what_only_reads() {
    let mut fault = Fault::new(3, "PostgreSQL is read-only, as before a failover (25006)");
    let server = Postgres::start(&[]).await;
    let stack = Stack::builder().with_database(TestDatabase::on(&server).await).start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    let operator = server.connect().await;
    for statement in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        operator.batch_execute(statement).await.unwrap();
    }
    // Every process of the server learns of it before its next statement.
    while ada.tries_to_sign_in().await.status == 200 {}
    fault.saw_unavailable(&[ada.tries_to_sign_in().await, ada.refreshes(&tokens.refresh).await]);
    fault.saw_unavailable(&[stack.stranger("Bob").signs_up().await, ada.logs_out(&tokens.access).await]);
    fault.saw_served(&ada.dashboard(&tokens.access).await);

    operator.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for statement in ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"] {
        operator.batch_execute(statement).await.unwrap();
    }
    fault.has_ended(|| Box::pin(ada.tries_to_sign_in())).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

// Fault 3.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_failover_is_over_when_the_name_leads_to_the_new_server() {
    const FUNCTIONS: [&str; 7] =
        ["signup", "signin", "refresh", "dashboard", "logout", "forgot-password", "reset-password"];
    let mut fault = Fault::new(3, "PostgreSQL fails over: a standby is promoted, and the name leads there");
    let primary = Postgres::start(&[]).await;
    let standby = primary.standby("127.0.0.2").await;
    let database = TestDatabase::on(&primary).await;
    let names = Names::new();
    names.lead_to("127.0.0.1");
    let url = database.functions_url().replace("@127.0.0.1:", "@database.test:");
    let mut builder = Stack::builder().with("DATABASE_TLS", "off").with_database(database);
    for function in FUNCTIONS {
        builder =
            builder.with_for(function, "DATABASE_URL", &url).with_for(function, "LD_PRELOAD", "libnss_wrapper.so");
        builder = builder.with_for(function, "NSS_WRAPPER_HOSTS", &names.file);
    }
    let stack = builder.start().await;
    let ada = stack.user("Ada").await;
    let tokens = warm(&ada).await;
    let replica = standby.connect().await;
    let written = stack.sql_text("SELECT pg_current_wal_lsn()::text").await;
    let arrived = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    while !replica.query_one(&arrived, &[]).await.unwrap().get::<_, bool>(0) {}

    primary.stop(Shutdown::Immediate).await;
    fault.saw_unavailable(&everything(&ada, &stack.stranger("Bob"), &tokens).await);
    names.lead_to("127.0.0.2");
    fault.saw_unavailable(&[ada.refreshes(&tokens.refresh).await, ada.tries_to_sign_in().await]);
    fault.saw_served(&ada.dashboard(&tokens.access).await);
    replica.execute("SELECT pg_promote()", &[]).await.unwrap();
    fault.has_ended(|| Box::pin(ada.tries_to_sign_in())).await;
    fault.is_over(&ada, &stack.stranger("Bob"), &tokens).await;
}

/// What leads from the name `database.test` to an address, for functions that are told to look there.
struct Names {
    file: String,
}

impl Names {
    fn new() -> Self {
        let name = format!("jwt-auth-hosts-{}", uuid::Uuid::new_v4().simple());
        Self { file: std::env::temp_dir().join(name).display().to_string() }
    }

    fn lead_to(&self, address: &str) {
        std::fs::write(&self.file, format!("{address} database.test\n")).unwrap();
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
