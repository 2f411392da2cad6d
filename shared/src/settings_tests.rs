//! Properties of all settings together.

use std::time::Duration;

use proptest::{prelude::*, property_test, sample::select};
use secrecy::ExposeSecret;

use crate::{
    arbitrary, aws,
    brand::Brand,
    db::{ConnectionSettings, Database},
    environment::{ConfigError, Environment},
    mail::{LinkPages, ses::SesSettings},
    security::{MailBudget, PasswordRules, TokenSettings, policy, sign_up_privacy},
    sessions::{Sessions, Store},
};

const SECRET: (&str, &str) = ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://user:password@localhost/database");

fn tokens(variables: &[(&str, &str)]) -> Result<TokenSettings, ConfigError> {
    TokenSettings::from_env(&Environment::with(variables))
}

fn rules(variables: &[(&str, &str)]) -> Result<PasswordRules, ConfigError> {
    PasswordRules::from_env(&Environment::with(variables))
}

fn database() -> Database {
    Database::from_env(&Environment::with(&[DATABASE])).unwrap()
}

fn sessions(variables: &[(&str, &str)]) -> Result<Sessions, ConfigError> {
    Sessions::in_store(Store::PostgreSql(database()), &Environment::with(variables))
}

fn ses(variables: &[(&str, &str)]) -> Result<SesSettings, ConfigError> {
    SesSettings::from_env(&Environment::with(variables))
}

#[test]
fn an_empty_value_counts_as_unset() {
    let tokens_of = tokens(&[SECRET, ("JWT_ISSUER", ""), ("JWT_ACCESS_TOKEN_EXPIRES", "")]).unwrap();
    assert_eq!((tokens_of.issuer.as_str(), tokens_of.access_lifetime), ("jwt-auth", policy::ACCESS_TOKEN_LIFETIME));
    let missing = tokens(&[("JWT_SECRET_KEY", "")]).err().unwrap();
    assert!(missing.to_string().starts_with("JWT_SECRET_KEY is not set"));
}

// Requirement 10.
#[test]
fn an_error_names_the_variable_and_not_its_value() {
    let short = tokens(&[("JWT_SECRET_KEY", "hunter2")]).err().unwrap().to_string();
    assert!(short.contains("JWT_SECRET_KEY") && !short.contains("hunter2"));
    for (name, value) in [
        ("JWT_ACCESS_TOKEN_EXPIRES", "1h"),
        ("JWT_ACCESS_TOKEN_EXPIRES", "0"),
        ("JWT_REFRESH_TOKEN_EXPIRES", "-1"),
        ("REFRESH_GRACE", "ten"),
    ] {
        let refused = sessions(&[SECRET, (name, value)]).err().unwrap();
        assert!(refused.to_string().contains(name), "{name}={value}");
    }
    for (name, value) in [("PASSWORD_MIN_LENGTH", "7"), ("PASSWORD_MIN_LENGTH", "129"), ("PASSWORD_BLOCKLIST", "yes")] {
        let refused = rules(&[(name, value)]).err().unwrap();
        assert!(refused.to_string().contains(name), "{name}={value}");
    }
    assert!(tokens(&[SECRET, ("JWT_AUDIENCE", "jwt-auth/refresh")]).is_err());
    assert!(ses(&[]).is_err() && ses(&[("MAIL_FROM", "nobody")]).is_err());
    assert!(ses(&[("MAIL_FROM", "a@b.c"), ("AWS_ENDPOINT_URL", "localhost:8005")]).is_err());
}

/// Every variable, with a valid value.
const GOOD: [(&str, &str); 32] = [
    SECRET,
    ("AWS_ENDPOINT_URL", ""),
    ("AWS_ENDPOINT_URL_DYNAMODB", ""),
    ("AWS_ENDPOINT_URL_SES", ""),
    ("BRAND_COLOR", "#1a4fa3"),
    ("BRAND_LOGO_URL", "https://example.com/logo.png"),
    ("BRAND_NAME", "Example"),
    ("DATABASE_AUTH", "password"),
    ("DATABASE_PREPARED_STATEMENTS", "on"),
    ("DATABASE_TLS", "off"),
    ("DATABASE_URL", "postgres://user:password@db.internal/database"),
    ("DEFAULT_LOCALE", "de"),
    ("EMAIL_VERIFICATION", "on"),
    ("FORGOT_PASSWORD_FLOOR_MS", "1000"),
    ("JWT_ACCESS_TOKEN_EXPIRES", "3600"),
    ("JWT_ADDITIONAL_PUBLIC_KEYS", ""),
    ("JWT_ADDITIONAL_SECRET_KEYS", ""),
    ("JWT_AUDIENCE", "jwt-auth"),
    ("JWT_ISSUER", "https://api.example.com"),
    ("JWT_PRIVATE_KEY", ""),
    ("JWT_REFRESH_TOKEN_EXPIRES", "604800"),
    ("LINKS_URL", "https://auth.example.com"),
    ("MAILS_PER_HOUR", "1000"),
    ("MAIL_FROM", "no-reply@example.com"),
    ("PASSWORD_BLOCKLIST", "on"),
    ("PASSWORD_MIN_LENGTH", "15"),
    ("REFRESH_GRACE", "10"),
    ("REQUIRE_VERIFIED_EMAIL", "off"),
    ("RESET_PASSWORD_URL", "https://example.com/reset"),
    ("SIGNIN_FLOOR_MS", "0"),
    ("SIGNUP_TELLS", "on"),
    ("STATE_TABLE", "state"),
];

fn read_all(env: &Environment) -> Result<(), ConfigError> {
    ConnectionSettings::from_env(env)?;
    Sessions::in_store(Store::PostgreSql(database()), env)?;
    PasswordRules::from_env(env)?;
    MailBudget::from_env(env)?;
    env.milliseconds("SIGNIN_FLOOR_MS", Duration::ZERO)?;
    sign_up_privacy::minimum_duration(env)?;
    sign_up_privacy::sign_up_tells(env)?;
    env.http_url("RESET_PASSWORD_URL")?;
    LinkPages::from_env(env)?;
    SesSettings::from_env(env)?;
    Brand::from_env(env)?;
    aws::sdk_config_of(env, "AWS_ENDPOINT_URL_DYNAMODB").map(drop)
}

// Requirement 10.
#[property_test]
fn an_error_names_the_one_wrong_variable_and_not_its_value(
    #[strategy = select(&GOOD[..])] (name, good): (&'static str, &'static str),
    #[strategy = prop_oneof![
        arbitrary::text(),
        select(&GOOD[..]).prop_flat_map(|(_, good)| arbitrary::damaged(good)),
        "postgres(ql)?://[a-z0-9@:/?=&,%.\\[\\]]{0,20}",
        "https?://[a-z0-9@:/?=&,%.\\[\\]]{0,20}",
    ]]
    value: String,
) {
    assert_eq!(read_all(&Environment::with(&GOOD)), Ok(()));
    for value in [&value, &format!("{value}hunter2"), &format!("hunter2{good}")] {
        let others = GOOD.into_iter().filter(|(other, _)| *other != name);
        let variables: Vec<_> = others.chain([(name, value.as_str())]).collect();
        if let Err(error) = read_all(&Environment::with(&variables)) {
            let error = error.to_string();
            assert!(error.starts_with(&format!("{name} is ")) && !error.contains("hunter2"), "{error}");
        }
    }
}

#[property_test]
fn a_number_is_read_as_it_is_written_or_refused(#[strategy = r"-?[0-9]{1,11}|\d|1[0-3]\d|10{3}\d"] text: String) {
    let number = text.parse::<u64>().ok();
    let seconds = tokens(&[SECRET, ("JWT_ACCESS_TOKEN_EXPIRES", &text)]).ok();
    let seconds = seconds.map(|tokens| tokens.access_lifetime.as_secs());
    assert_eq!(seconds, number.filter(|seconds| (1..=u32::MAX.into()).contains(seconds)));
    let env = Environment::with(&[("SIGNIN_FLOOR_MS", &text)]);
    let milliseconds = env.milliseconds("SIGNIN_FLOOR_MS", Duration::ZERO).ok();
    let milliseconds = milliseconds.map(|duration| duration.as_millis().try_into().unwrap());
    assert_eq!(milliseconds, number.filter(|milliseconds| *milliseconds <= 10_000));
    let characters = rules(&[("PASSWORD_MIN_LENGTH", &text)]).ok().map(|rules| rules.min_length().try_into().unwrap());
    assert_eq!(characters, number.filter(|characters| (8..=128).contains(characters)));
}

// Requirements 10, 39.
#[property_test]
fn a_secret_is_long_and_can_be_listed_as_an_additional_one_later(
    #[strategy = r"(?s)[ ,\t]?(.{20,40}|[!-+\--~]{30,36})[ ,\n]?"] secret: String,
) {
    let listed = format!("{}, {secret}", SECRET.1);
    let listed = tokens(&[SECRET, ("JWT_ADDITIONAL_SECRET_KEYS", &listed)]);
    match tokens(&[("JWT_SECRET_KEY", &secret)]) {
        Ok(signing) => {
            assert!(signing.secret.expose_secret() == secret && secret.len() >= 32);
            let listed = listed.unwrap().additional_secrets;
            assert_eq!(listed.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), [SECRET.1, &secret]);
        }
        Err(_) => assert!(secret.len() < 32 || secret.contains(',') || secret.trim() != secret),
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let tokens = tokens(&[SECRET]).unwrap();
    assert_eq!((tokens.issuer.as_str(), tokens.audience.as_str()), ("jwt-auth", "jwt-auth"));
    assert_eq!(tokens.access_lifetime.as_secs(), 3600);
    assert_eq!(policy::SESSION_LIFETIME.as_secs(), 604_800);
    assert_eq!(policy::REFRESH_GRACE.as_secs(), 10);
    assert_eq!(rules(&[]).unwrap().min_length(), 15);
    assert_eq!(policy::FORGOT_PASSWORD_MINIMUM_DURATION, Duration::from_secs(1));
}
