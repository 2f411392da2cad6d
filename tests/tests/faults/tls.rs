//! TLS to the database and its certificates.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tests::{Postgres, Stack, database::TestDatabase};
use uuid::Uuid;

use crate::fault::assert_unavailable;

/// A certificate authority.
struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes the CA's certificate to a file, for `DATABASE_CA`.
    fn file(&self) -> PathBuf {
        let file = PathBuf::from(tests::server("TEST_POSTGRES_FOLDER")).join(format!("{}.pem", Uuid::new_v4()));
        fs::write(&file, self.0.pem()).unwrap();
        file
    }

    /// Gives a server a certificate for this name, which expires at the end of `expiry_year`.
    async fn issue_certificate(&self, server: &Postgres, name: &str, expiry_year: i32) {
        let (mut params, key) = (CertificateParams::new(vec![name.to_owned()]).unwrap(), KeyPair::generate().unwrap());
        params.not_after = date_time_ymd(expiry_year, 12, 31);
        server.write_file("server.crt", &params.signed_by(&key, &self.0).unwrap().pem());
        server.write_file("server.key", &key.serialize_pem());
        server.set("ssl = on").await;
    }
}

const CLOSE_CONNECTIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'jwt-auth%'";

#[tokio::test]
async fn a_server_is_trusted_only_with_the_right_certificate() {
    let (ours, theirs) = (CertificateAuthority::new("ours"), CertificateAuthority::new("theirs"));
    let server = Postgres::start(&[]).await;
    ours.issue_certificate(&server, "127.0.0.1", 2100).await;
    let database = TestDatabase::on(&server).await;
    let ca = ours.file();
    let stack = Stack::builder()
        .with_database(database)
        .with("DATABASE_TLS", "verify")
        .with("DATABASE_CA", ca.to_str().unwrap());
    // `start` invokes `migrate`, which connects with the same TLS settings.
    let stack = stack.start().await;
    let ada = stack.user("Ada").await;
    let tokens = ada.signs_in().await;
    let unencrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'jwt-auth' AND NOT ssl";
    assert_eq!(stack.sql_number(unencrypted).await, 0);

    let assert_untrusted = async |why: &str| {
        stack.sql(CLOSE_CONNECTIONS).await;
        assert_unavailable(&ada.dashboard(&tokens.access).await);
        let log = stack.log_of("dashboard");
        assert!(log.contains(why), "{why} in {log}");
        let cannot_migrate = stack.invoke("migrate", &serde_json::json!({})).await.unwrap_err();
        assert_eq!(cannot_migrate["errorType"], "Unreachable", "{cannot_migrate}");
    };
    theirs.issue_certificate(&server, "127.0.0.1", 2100).await;
    assert_untrusted("UnknownIssuer").await;
    ours.issue_certificate(&server, "db.example.com", 2100).await;
    assert_untrusted("not valid for name").await;
    ours.issue_certificate(&server, "127.0.0.1", 2020).await;
    assert_untrusted("expired").await;
    server.set("ssl = off").await;
    assert_untrusted("server does not support TLS").await;

    ours.issue_certificate(&server, "127.0.0.1", 2100).await;
    assert_eq!(ada.dashboard(&tokens.access).await.status, 200, "the function recovers without a restart");
    fs::remove_file(ca).unwrap();
}

#[tokio::test]
async fn by_default_only_certificates_of_amazon_rds_are_trusted() {
    let server = Postgres::start(&[]).await;
    let database = TestDatabase::on(&server).await;
    let stack = Stack::builder().with_database(database).with_for("signup", "DATABASE_TLS", "verify").start().await;
    CertificateAuthority::new("ours").issue_certificate(&server, "127.0.0.1", 2100).await;
    assert_unavailable(&stack.stranger("Ada").signs_up().await);
    assert!(stack.log_of("signup").contains("UnknownIssuer"), "{}", stack.log_of("signup"));
}
