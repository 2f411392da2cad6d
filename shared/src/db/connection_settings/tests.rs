use proptest::{collection::vec, property_test, sample::Index};

use super::*;

fn database(variables: &[(&str, &str)], host: &str) -> Result<ConnectionSettings, ConfigError> {
    let url = format!("postgres://u:p@{host}/d");
    ConnectionSettings::from_env(&Environment::with(&[variables, &[("DATABASE_URL", url.as_str())]].concat()))
}

#[test]
fn a_remote_database_is_verified_unless_tls_is_off() {
    let verified = |tls: &str, host: &str| database(&[("DATABASE_TLS", tls)], host).unwrap().authorities.is_some();
    assert!(!verified("", "127.0.0.1") && !verified("", "localhost") && !verified("off", "db.internal"));
    assert!(verified("", "db.internal") && verified("verify", "db.internal") && verified("verify", "localhost"));
    let elsewhere = "postgres://u@localhost/d?hostaddr=10.255.255.1";
    assert!(
        ConnectionSettings::from_env(&Environment::with(&[("DATABASE_URL", elsewhere)])).unwrap().authorities.is_some()
    );
    assert!(database(&[("DATABASE_TLS", "on")], "db.internal").is_err());
}

#[test]
fn the_certificate_authorities_come_from_rds_the_system_or_a_file() {
    let authorities =
        |ca: &str| database(&[("DATABASE_CA", ca)], "db.internal").map(|found| found.authorities.unwrap().roots);
    assert_eq!(authorities("").unwrap(), authorities("rds").unwrap());
    assert!(authorities("rds").unwrap().len() > 90, "the file has two or three certificates for each AWS region");
    let rds = concat!(env!("CARGO_MANIFEST_DIR"), "/certificates/rds.pem");
    assert_eq!(authorities(rds).unwrap(), authorities("rds").unwrap());
    for none in ["/nowhere/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        assert!(authorities(none).unwrap_err().to_string().starts_with("DATABASE_CA is malformed"), "{none}");
    }
}

#[test]
fn iam_needs_one_host_a_plain_user_name_and_encryption() {
    let iam = |tls: &str, host: &str| database(&[("DATABASE_AUTH", "iam"), ("DATABASE_TLS", tls)], host);
    assert!(iam("", "db.internal").unwrap().iam.is_some() && iam("", "localhost").unwrap().iam.is_some());
    assert!(database(&[], "db.internal").unwrap().iam.is_none());
    let refused = |tls, host| iam(tls, host).err().unwrap().to_string();
    assert!(refused("off", "db.internal").starts_with("DATABASE_TLS"));
    assert!(refused("", "a.internal,b.internal").starts_with("DATABASE_URL"));
    let odd = Environment::with(&[("DATABASE_AUTH", "iam"), ("DATABASE_URL", "postgres://a%26b@db.internal/d")]);
    assert!(ConnectionSettings::from_env(&odd).is_err());
}

#[test]
fn statements_are_prepared_with_iam_or_if_the_setting_says_so() {
    let prepared = |auth: &str, setting: &str| {
        let variables = [("DATABASE_AUTH", auth), ("DATABASE_PREPARED_STATEMENTS", setting)];
        database(&variables, "db.internal").unwrap().prepared_statements
    };
    assert!(prepared("iam", "") && prepared("password", "on") && !prepared("password", "") && !prepared("iam", "off"));
}

#[test]
fn a_malformed_database_url_is_refused() {
    for url in
        ["", "localhost", "mysql://u@h/d", "host=localhost", "postgres://u@h:port/d", "postgres://", "postgres:///d"]
    {
        assert!(ConnectionSettings::from_env(&Environment::with(&[("DATABASE_URL", url)])).is_err(), "{url}");
    }
}

#[test]
fn an_error_names_the_parameter_of_another_driver_and_its_replacement() {
    for (parameter, named, instead) in [
        ("sslmode=verify-full", "`sslmode`", "DATABASE_TLS"),
        ("sslmode=require&sslrootcert=system", "`sslrootcert`", "DATABASE_CA"),
        ("sslrootcert=/etc/ca.pem", "`sslrootcert`", "DATABASE_CA"),
        ("application_name=x&pgbouncer=true", "`pgbouncer`", "DATABASE_PREPARED_STATEMENTS"),
        ("schema=auth", "`schema`", "search_path"),
    ] {
        let url = format!("postgres://user:hunter2@db.internal/database?{parameter}");
        let refusal =
            ConnectionSettings::from_env(&Environment::with(&[("DATABASE_URL", &url)])).err().unwrap().to_string();
        assert!(refusal.contains(named) && refusal.contains(instead) && !refusal.contains("hunter2"), "{refusal}");
    }
    let mysql = ConnectionSettings::from_env(&Environment::with(&[(
        "DATABASE_URL",
        "mysql://user:hunter2@db.internal/database",
    )]));
    assert!(mysql.err().unwrap().to_string().contains("of PostgreSQL"));
}

#[property_test]
fn one_remote_host_is_enough_to_require_encryption(
    #[strategy = vec("localhost|127[.]0[.]0[.]1|127[.]8[.]8[.]8|[\\[]::1[\\]]|%2Frun", 1..4)] mut hosts: Vec<String>,
    #[strategy = "db[.]internal|10[.]0[.]0[.]7|[\\[]2001:db8::1[\\]]|0[.]0[.]0[.]0|localhost[.]example|"]
    beyond: String,
    at: Index,
) {
    let database = |hosts: &[String]| {
        let url = format!("postgres://u:p@{}/d", hosts.join(","));
        ConnectionSettings::from_env(&Environment::with(&[("DATABASE_URL", &url)])).unwrap().authorities
    };
    assert!(database(&hosts).is_none());
    hosts.insert(at.index(hosts.len() + 1), beyond);
    assert!(database(&hosts).is_some());
}
