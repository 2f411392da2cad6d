//! Sends random events to handlers, and checks every answer: its status is a known one, openapi.yaml contains every refusal word for word,
//! and every answer has the required headers. No handler may panic, and no handler may accept a token that this program did not issue.
//!
//! If the input is a JSON object, it is the event. From any other input, the program builds an event like those of API Gateway. The handlers
//! do what the endpoints do before they use the database.

#![no_main]

use std::{future::Future, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::FutureExt;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary, Unstructured},
    fuzz_target,
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use shared::{
    domain::{Email, Methods, Name, Session, SessionId, TokenId, UnixTime, UserId},
    environment::Environment,
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::answer_http,
    security::{
        PasswordRules, TokenSettings, Tokens,
        token::{Freshness, TokenReply},
    },
};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| {
    let made = || Event::arbitrary_take_rest(Unstructured::new(data)).map(Value::from);
    let object = || serde_json::from_slice(data).ok().filter(|event: &Box<RawValue>| event.get().starts_with('{'));
    if let Some(event) = object().or_else(|| to_raw_value(&made().ok()?).ok()) {
        expect_answer(&event, sign_up);
        expect_answer(&event, reset_password);
        expect_answer(&event, show_dashboard);
        expect_answer(&event, refresh);
        expect_answer(&event, example);
    }
});

/// The parts of an event that a client chooses. A part that is `None` gets a valid value or is left out.
#[derive(Arbitrary)]
struct Event<'a> {
    content_type: Option<&'a str>,
    authorization: Option<Authorization<'a>>,
    path_token: Option<&'a str>,
    source_ip: Option<&'a str>,
    body: Body<'a>,
}

#[derive(Arbitrary)]
enum Authorization<'a> {
    Other(&'a str),
    Bearer(&'a str),
    /// The beginning of a valid token, followed by the text `then`. `until` determines the length of the beginning.
    Minted {
        refresh: bool,
        until: usize,
        then: &'a str,
    },
}

#[derive(Arbitrary)]
enum Body<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Fields { name: Option<&'a str>, email: Option<&'a str>, password: Option<&'a str> },
}

impl From<Event<'_>> for Value {
    fn from(event: Event<'_>) -> Self {
        let authorization = event.authorization.map(|authorization| match authorization {
            Authorization::Other(text) => text.to_owned(),
            Authorization::Bearer(token) => format!("Bearer {token}"),
            Authorization::Minted { refresh, until, then } => {
                let minted = if refresh { &MINTED.refresh_token } else { &MINTED.access_token };
                format!("Bearer {}{then}", &minted[..until % (minted.len() + 1)])
            }
        });
        let (body, encoded) = match event.body {
            Body::Text(text) => (text.to_owned(), false),
            Body::Bytes(bytes) => (STANDARD.encode(bytes), true),
            Body::Fields { name, email, password } => {
                let name = name.unwrap_or("Ada Lovelace");
                let email = email.unwrap_or("ada@example.com");
                let password = password.unwrap_or("violet kettle under seven lamps");
                (json!({ "name": name, "email": email, "password": password }).to_string(), false)
            }
        };
        let mut headers = json!({ "content-type": event.content_type.unwrap_or("application/json") });
        if let Some(authorization) = authorization {
            headers["authorization"] = authorization.into();
        }
        json!({
            "version": "2.0",
            "headers": headers,
            "pathParameters": { "token": event.path_token.unwrap_or("this-is-where-the-token-of-the-mail-belongs") },
            "requestContext": { "http": { "method": "POST", "sourceIp": event.source_ip } },
            "body": body,
            "isBase64Encoded": encoded,
        })
    }
}

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let variables =
        [("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef"), ("JWT_ACCESS_TOKEN_EXPIRES", "4294967295")];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
});

static RULES: LazyLock<PasswordRules> = LazyLock::new(|| PasswordRules::from_env(&ENVIRONMENT).expect("the defaults"));

static TOKENS: LazyLock<Tokens> =
    LazyLock::new(|| Tokens::new(&TokenSettings::from_env(&ENVIRONMENT).expect("a secret")));

/// The tokens of a session that never expires.
static MINTED: LazyLock<TokenReply> = LazyLock::new(|| {
    let session = Session {
        id: SessionId(Uuid::nil()),
        user_id: UserId(7),
        refresh_id: TokenId(Uuid::nil()),
        refreshed_at: UnixTime(0),
        auth_time: UnixTime(0),
        methods: Methods::PASSWORD,
        email_verified: false,
        expires_at: UnixTime(i64::MAX),
        now: UnixTime(0),
    };
    TOKENS.mint(&session, session.refresh_id, Freshness::Fresh).expect("signed by a secret")
});

async fn sign_up(request: Request) -> Result<Reply, ApiError> {
    let [Some(name), Some(email), Some(password)] = request.texts(["name", "email", "password"])? else {
        return Err(ApiError::MissingRequiredFields);
    };
    let (name, email) = (Name::parse(&name)?, Email::parse(&email)?);
    RULES.accept(&password, name.as_str(), email.as_str())?;
    Ok(Reply::created(&Message { message: "User created successfully" }))
}

async fn reset_password(request: Request) -> Result<Reply, ApiError> {
    let [password] = request.texts(["password"])?;
    let password = password.ok_or(ApiError::NewPasswordRequired)?;
    request.link_token()?;
    RULES.accept(&password, request.source().as_str(), request.domain_name().unwrap_or_default())?;
    Ok(Reply::ok(&Message { message: "Password reset successful" }))
}

async fn show_dashboard(request: Request) -> Result<Reply, ApiError> {
    let token = request.bearer_token()?;
    let verified = TOKENS.verify_access(token, request.now())?;
    assert!(token == MINTED.access_token && verified.user_id == UserId(7), "accepted {token}, which was not issued");
    Ok(Reply::ok(&Message { message: "Welcome!" }))
}

async fn refresh(request: Request) -> Result<Reply, ApiError> {
    let token = request.bearer_token()?;
    TOKENS.verify_refresh(token, request.now())?;
    assert!(token == MINTED.refresh_token, "accepted {token}, which was not issued");
    Ok(Reply::ok(&Message { message: "Token refreshed successfully" }))
}

async fn example(request: Request) -> Result<Reply, ApiError> {
    request.caller()?;
    Ok(Reply::ok(&Message { message: "This is only for those who are signed in" }))
}

const OPENAPI: &str = include_str!("../openapi.yaml");

fn expect_answer<F: Future<Output = Result<Reply, ApiError>>>(event: &RawValue, handler: fn(Request) -> F) {
    let response = answer_http(event, handler).now_or_never().expect("the handler does not wait");
    let answer = json!(response.expect("every event gets an answer"));
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer["headers"][name], value, "{answer}");
    }
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
    let message = body["message"].as_str().expect("a message");
    let status = answer["statusCode"].as_u64().expect("a status");
    match status {
        200 | 201 => assert!(body.get("code").is_none()),
        400 | 401 | 413 | 415 | 500 => {
            let code = body["code"].as_str().expect("a code");
            for told in [format!("message: {message}"), format!("code: {code}")] {
                assert!(OPENAPI.contains(&told), "openapi.yaml does not contain {told}");
            }
            assert_eq!(answer["headers"]["www-authenticate"].is_string(), status == 401, "{answer}");
        }
        _ => panic!("an unexpected status: {answer}"),
    }
}
