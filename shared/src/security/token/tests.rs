use std::sync::LazyLock;

use proptest::{prelude::*, property_test, sample::select};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    arbitrary,
    domain::{Methods, Session},
    environment::Environment,
    security::{
        Issuer,
        keys::{KeyPairs, PrivateKey, tests::key_pairs},
    },
};

const NOW: UnixTime = UnixTime(1_800_000_000);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn settings() -> TokenSettings {
    TokenSettings {
        secret: SECRET.into(),
        additional_secrets: Vec::new(),
        key_pairs: KeyPairs::default(),
        issuer: Issuer::from_env(&Environment::with(&[])),
        audience: "jwt-auth".into(),
        access_lifetime: Duration::from_hours(1),
    }
}

fn tokens() -> Tokens {
    Tokens::new(&settings())
}

fn session() -> Session {
    Session {
        id: SessionId(Uuid::from_u128(1)),
        user_id: UserId(7),
        refresh_id: TokenId(Uuid::from_u128(2)),
        refreshed_at: NOW,
        auth_time: UnixTime(NOW.0 - 700),
        methods: Methods::PASSWORD.and(Methods::ONE_TIME_CODE),
        email_verified: true,
        expires_at: NOW.plus(Duration::from_hours(7 * 24)),
        now: NOW,
    }
}

fn mint() -> TokenReply {
    tokens().mint(&session(), TokenId(Uuid::from_u128(3)), Freshness::Fresh).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "jwt-auth", "aud": "jwt-auth", "sub": "7", "iat": NOW.0, "nbf": NOW.0, "exp": NOW.0 + 60,
        "jti": Uuid::from_u128(3), "sid": Uuid::from_u128(1), "type": "access", "fresh": true,
    })
}

/// A token with this header and payload, correctly signed with our secret.
fn forge(header: &Value, payload: &Value) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn verify(header: &Value, payload: &Value) -> Result<VerifiedToken, TokenError> {
    tokens().verify_access(&forge(header, payload), NOW)
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

#[test]
fn a_verified_token_names_its_user_and_session() {
    let verified = tokens().verify_access(&mint().access_token, NOW).unwrap();
    assert_eq!(verified.user_id, UserId(7));
    assert_eq!(verified.session_id, session().id);
    assert_eq!(tokens().verify_refresh(&mint().refresh_token, NOW).unwrap().token_id, session().refresh_id);
}

#[test]
fn a_refresh_token_minted_again_is_the_same_bytes() {
    let later = Session { now: NOW.plus(Duration::from_secs(5)), ..session() };
    let again = tokens().mint(&later, TokenId(Uuid::from_u128(9)), Freshness::Refreshed).unwrap();
    assert_eq!(again.refresh_token, mint().refresh_token);
    assert_ne!(again.access_token, mint().access_token);
}

/// The claims of a token that this service has minted.
fn claims_of(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

// Requirement 54.
#[test]
fn only_an_access_token_says_how_and_when_the_user_authenticated() {
    let (access, refresh) = (claims_of(&mint().access_token), claims_of(&mint().refresh_token));
    assert_eq!(access["auth_time"], json!(NOW.0 - 700));
    assert_eq!((&access["amr"], &access["acr"]), (&json!(["pwd", "otp"]), &json!("aal2")));
    assert_eq!(access["email_verified"], true);
    for claim in ["auth_time", "amr", "acr", "email_verified"] {
        assert_eq!(refresh.get(claim), None, "{claim}");
    }
}

#[test]
fn an_access_token_from_before_auth_time_existed_is_valid() {
    assert_eq!(verify(&header(), &claims()).unwrap().auth_time, None);
    assert_eq!(verify(&header(), &with("auth_time", json!("1"))), Err(TokenError::Invalid));
}

#[test]
fn an_access_token_expires_with_its_session_at_the_latest() {
    let ending = Session { expires_at: NOW.plus(Duration::from_mins(1)), ..session() };
    let reply = tokens().mint(&ending, TokenId(Uuid::from_u128(3)), Freshness::Refreshed).unwrap();
    assert_eq!(reply.expires_in, 60);
    assert_eq!(tokens().verify_access(&reply.access_token, UnixTime(NOW.0 + 60)), Err(TokenError::Expired));
    assert_eq!(mint().expires_in, 3600);
}

// Requirement 9.
#[test]
fn exp_has_no_tolerance_and_iat_and_nbf_have_thirty_seconds() {
    assert!(verify(&header(), &with("exp", json!(NOW.0 + 1))).is_ok());
    assert_eq!(verify(&header(), &with("exp", json!(NOW.0))), Err(TokenError::Expired));
    for claim in ["iat", "nbf"] {
        assert!(verify(&header(), &with(claim, json!(NOW.0 + 30))).is_ok());
        assert_eq!(verify(&header(), &with(claim, json!(NOW.0 + 31))), Err(TokenError::Invalid));
    }
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "HS256", "kid": keys::secret_verifier(&SECRET.into()).kid()})
}

/// Tokens of a service that signs with this secret, and accepts these others.
fn under(secret: &str, additional: &[&str]) -> Tokens {
    let additional_secrets = additional.iter().map(|&secret| secret.into()).collect();
    Tokens::new(&TokenSettings { secret: secret.into(), additional_secrets, ..settings() })
}

// Requirement 39.
#[test]
fn rotating_the_secret_function_by_function_keeps_all_tokens_valid() {
    const NEXT: &str = "the-next-secret-0123456789abcdef0123";
    // First every function accepts the next secret. Then one function after the other signs with it. Then the old secret is removed.
    let steps = [under(SECRET, &[]), under(SECRET, &[NEXT]), under(NEXT, &[SECRET]), under(NEXT, &[])];
    for neighbours in steps.windows(2) {
        for minting in neighbours {
            let reply = minting.mint(&session(), TokenId(Uuid::nil()), Freshness::Fresh).unwrap();
            for verifying in neighbours {
                assert!(verifying.verify_access(&reply.access_token, NOW).is_ok());
                assert!(verifying.verify_refresh(&reply.refresh_token, NOW).is_ok());
            }
        }
    }
    assert_eq!(steps[3].verify_access(&mint().access_token, NOW), Err(TokenError::Invalid));
}

fn with_key_pairs(private: Option<&PrivateKey>, additional: &[&PrivateKey]) -> Tokens {
    let additional = additional.iter().map(|key| key.public().clone()).collect();
    Tokens::new(&TokenSettings { key_pairs: KeyPairs::new(private.cloned(), additional), ..settings() })
}

fn mint_with(tokens: &Tokens) -> TokenReply {
    tokens.mint(&session(), TokenId(Uuid::nil()), Freshness::Fresh).unwrap()
}

#[test]
fn a_change_of_algorithm_keeps_old_tokens_valid() {
    let kinds = key_pairs();
    let with_secret = mint();
    for key in &kinds {
        let tokens = with_key_pairs(Some(key), &[]);
        let reply = mint_with(&tokens);
        assert!(tokens.verify_access(&reply.access_token, NOW).is_ok());
        assert!(tokens.verify_access(&with_secret.access_token, NOW).is_ok(), "the secret's tokens stay valid");
        // After a change back to the secret, or to another key, the tokens of the old key are valid while its public key is configured.
        assert!(with_key_pairs(None, &[key]).verify_access(&reply.access_token, NOW).is_ok());
        for next in &kinds {
            assert!(with_key_pairs(Some(next), &[key]).verify_access(&reply.access_token, NOW).is_ok());
        }
        assert_eq!(tokens_without_key_pairs().verify_access(&reply.access_token, NOW), Err(TokenError::Invalid));
    }
}

fn tokens_without_key_pairs() -> Tokens {
    with_key_pairs(None, &[])
}

// Requirement 7.
#[test]
fn the_secret_always_signs_refresh_tokens() {
    for key in &key_pairs() {
        let tokens = with_key_pairs(Some(key), &[]);
        assert_eq!(mint_with(&tokens).refresh_token, mint().refresh_token);
        // A refresh token is invalid if the key pair has signed it, even though the signature is correct.
        let forged = Tokens { refresh_signer: key.signer(), ..with_key_pairs(Some(key), &[]) };
        assert_eq!(tokens.verify_refresh(&mint_with(&forged).refresh_token, NOW), Err(TokenError::Invalid));
    }
}

fn any_session() -> impl Strategy<Value = Session> {
    (any::<(u128, i64, u128)>(), 0..1_i64 << 40, 0..1_000_000_i64, 1..10_000_i64).prop_map(
        |((id, user_id, refresh_id), now, age, left)| Session {
            id: SessionId(Uuid::from_u128(id)),
            user_id: UserId(user_id),
            refresh_id: TokenId(Uuid::from_u128(refresh_id)),
            refreshed_at: UnixTime(now - age),
            auth_time: UnixTime(now - age),
            methods: Methods::PASSWORD,
            email_verified: age % 2 == 0,
            expires_at: UnixTime(now + left),
            now: UnixTime(now),
        },
    )
}

// Requirement 9.
#[property_test]
fn a_token_has_the_ids_of_its_session_and_is_valid_only_in_its_lifetime(
    #[strategy = any_session()] session: Session,
    access_id: u128,
    #[strategy = prop_oneof![-40..40_i64, any::<i64>()]] offset: i64,
) {
    let access_id = TokenId(Uuid::from_u128(access_id));
    let reply = tokens().mint(&session, access_id, Freshness::Fresh).unwrap();
    let access_ends = session.expires_at.min(UnixTime(session.now.0 + 3600));
    assert_eq!(reply.expires_in, access_ends.seconds_since(session.now));
    let said = |token_id, auth_time, issued: UnixTime, ends: UnixTime, now: UnixTime| match now {
        _ if now.0.saturating_add(30) < issued.0 => Err(TokenError::Invalid),
        _ if now >= ends => Err(TokenError::Expired),
        _ => Ok(VerifiedToken { user_id: session.user_id, session_id: session.id, token_id, auth_time }),
    };
    for moment in [session.refreshed_at, session.now, access_ends, session.expires_at] {
        let now = UnixTime(moment.0.saturating_add(offset));
        let access = tokens().verify_access(&reply.access_token, now);
        assert_eq!(access, said(access_id, Some(session.auth_time), session.now, access_ends, now));
        let refresh = tokens().verify_refresh(&reply.refresh_token, now);
        assert_eq!(refresh, said(session.refresh_id, None, session.refreshed_at, session.expires_at, now));
    }
}

/// Tokens of every kind and algorithm, with the `Tokens` that verifies all of them.
static EVERY_KIND: LazyLock<(Tokens, Vec<String>)> = LazyLock::new(|| {
    let keys = key_pairs();
    let signed = keys.iter().map(|key| mint_with(&with_key_pairs(Some(key), &[])).access_token);
    let signed = signed.chain([mint().access_token, mint().refresh_token]).collect();
    (with_key_pairs(None, &keys.each_ref()), signed)
});

#[property_test]
fn a_changed_token_is_invalid(
    #[strategy = select(EVERY_KIND.1.clone()).prop_flat_map(|text| arbitrary::damaged(&text))] token: String,
) {
    assert_eq!(EVERY_KIND.0.verify_access(&token, NOW), Err(TokenError::Invalid));
    assert_eq!(EVERY_KIND.0.verify_refresh(&token, NOW), Err(TokenError::Invalid));
}

#[property_test]
fn other_texts_and_forged_tokens_are_invalid(
    #[strategy = prop_oneof![arbitrary::text(), "[A-Za-z0-9_-]{0,60}([.][A-Za-z0-9_-]{0,60}){0,4}"]] text: String,
    #[strategy = arbitrary::json()] header: Value,
    #[strategy = arbitrary::json()] claims: Value,
) {
    for token in [text, forge(&header, &claims), forge(&self::header(), &claims), forge(&header, &self::claims())] {
        assert_eq!(EVERY_KIND.0.verify_access(&token, NOW), Err(TokenError::Invalid));
        assert_eq!(EVERY_KIND.0.verify_refresh(&token, NOW), Err(TokenError::Invalid));
    }
}

fn is_in_its_one_spelling<T: FromStr + ToString>(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse().is_ok_and(|parsed: T| parsed.to_string() == text))
}

// Requirement 8.
#[property_test]
fn each_claim_is_accepted_only_as_it_is_issued(
    #[strategy = select(claims().as_object().unwrap().keys().cloned().collect::<Vec<_>>())] claim: String,
    #[strategy = prop_oneof![
        arbitrary::json(),
        select(claims().as_object().unwrap().values().cloned().collect::<Vec<_>>()),
        (NOW.0 - 40..NOW.0 + 40).prop_map(Value::from),
        "(0|[+]|-| )?[0-9]{1,11}".prop_map(Value::from),
        "[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9A-Fa-f]{12}".prop_map(Value::from),
    ]]
    value: Value,
) {
    let good = match claim.as_str() {
        "iss" | "aud" => value == "jwt-auth",
        "type" => value == "access",
        "sub" => is_in_its_one_spelling::<i64>(&value),
        "jti" | "sid" => is_in_its_one_spelling::<Uuid>(&value),
        "fresh" => value.is_boolean(),
        "exp" => value.as_i64().is_some_and(|time| time > NOW.0),
        _ => value.as_i64().is_some_and(|time| time <= NOW.0 + 30),
    };
    assert_eq!(verify(&header(), &with(&claim, value)).is_ok(), good);
    let mut without = claims();
    without.as_object_mut().unwrap().remove(&claim);
    assert_eq!(verify(&header(), &without), Err(TokenError::Invalid));
}

// Requirement 2.
#[property_test]
fn a_header_with_other_fields_is_invalid(
    #[strategy = prop_oneof!["typ|alg|kid|crit|b64|jku|jwk|x5u|x5c|cty", arbitrary::text()]] name: String,
    #[strategy = arbitrary::json()] value: Value,
) {
    let mut other = header();
    other[&name] = value;
    assert_eq!(verify(&other, &claims()).is_ok(), other == header());
}
