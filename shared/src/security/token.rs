//! Access and refresh tokens: JSON Web Tokens (RFC 7519) that name a session.
//!
//! `jsonwebtoken` checks algorithm and signature. It would let much else through: unknown `crit`, any `typ`, missing `iss` and
//! `aud`, arrays where strings belong, a minute of leeway. [`Tokens`] closes all of that in one place: the header must be exactly
//! the one we write, every claim must be there with its type, and time is compared here, with the caller's `now`.

use std::{collections::HashMap, fmt::Display, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use super::{
    keys::{self, Signer, Verifier},
    policy,
};
use crate::{
    config,
    domain::{SessionId, TokenId, UnixTime, UserId},
};

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is ours, of the right kind, and past its time.
    #[error("the token has expired")]
    Expired,
    /// It is anything else.
    #[error("the token is invalid")]
    Invalid,
}

/// Which of the two a token is, in its `type` claim. The names follow Flask-JWT-Extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Access,
    Refresh,
}

impl TokenType {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// The claims of both kinds.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    jti: TokenId,
    sid: SessionId,
    r#type: &'a str,
    fresh: bool,
}

/// The same, as received, all required and typed. `others` is there for what it does to serde: with it, only an object is a set of
/// claims, where an array of the right length would be one without. `type` is a text, because an enum would be one as
/// `{"access":null}`, too.
#[derive(Deserialize)]
struct ReceivedClaims {
    iss: String,
    aud: String,
    #[serde(deserialize_with = "as_we_write_it")]
    sub: i32,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    #[serde(deserialize_with = "as_we_write_it")]
    jti: Uuid,
    #[serde(deserialize_with = "as_we_write_it")]
    sid: Uuid,
    r#type: String,
    #[serde(rename = "fresh")]
    _fresh: bool,
    #[serde(flatten)]
    _others: HashMap<String, Value>,
}

/// A value in its one spelling: ids are compared as text elsewhere (RFC 7519 §4.1.2), and `+7`, `urn:uuid:…` or capitals would be
/// other names for the same.
fn as_we_write_it<'de, T: FromStr + Display, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = text.parse().ok().filter(|value: &T| value.to_string() == text);
    value.ok_or_else(|| D::Error::custom("not as we write it"))
}

/// What a verified token says: whose it is, which session it belongs to, and which token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// `sub`
    pub user_id: UserId,
    /// `sid`
    pub session_id: SessionId,
    /// `jti`
    pub token_id: TokenId,
}

/// What the tokens of a session are minted from: its row, and PostgreSQL's time when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// `sid`
    pub id: SessionId,
    /// `sub`
    pub user_id: UserId,
    /// The `jti` of its current refresh token.
    pub refresh_id: TokenId,
    /// When that token was issued.
    pub refreshed_at: UnixTime,
    /// When the session ends, whatever happens: the refresh token's `exp`.
    pub expires_at: UnixTime,
    /// The time of the statement that read this.
    pub now: UnixTime,
}

/// The part of a reply that carries tokens (RFC 6749 §5.1).
#[derive(Serialize)]
pub struct TokenReply {
    /// For protected routes.
    pub access_token: String,
    /// For `refresh`, and for this service alone.
    pub refresh_token: String,
    /// Always "Bearer" (RFC 6750).
    pub token_type: &'static str,
    /// Seconds the access token is good for.
    pub expires_in: u64,
}

/// Whether the caller has just shown a password: the `fresh` claim of Flask-JWT-Extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// At sign-in.
    Fresh,
    /// At refresh.
    Refreshed,
}

/// Mints and verifies tokens.
pub struct Tokens {
    access_signer: Signer,
    refresh_signer: Signer,
    /// By `kid`.
    verifiers: HashMap<String, Verifier>,
    issuer: String,
    audience: String,
    refresh_audience: String,
    access_lifetime: Duration,
}

impl Tokens {
    /// Tokens of the configured issuer, under the configured keys.
    #[must_use]
    pub fn new(config: &config::Tokens) -> Self {
        let secrets = [&config.secret].into_iter().chain(&config.additional_secrets).map(keys::secret_verifier);
        let verifiers = secrets.chain(config.key_pairs.public().map(keys::PublicKey::verifier));
        let secret_signer = || keys::secret_signer(&config.secret);
        Self {
            access_signer: config.key_pairs.private().map_or_else(secret_signer, keys::PrivateKey::signer),
            refresh_signer: secret_signer(),
            verifiers: verifiers.map(|verifier| (verifier.kid(), verifier)).collect(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            refresh_audience: config::Tokens::refresh_audience(&config.issuer),
            access_lifetime: config.access_lifetime,
        }
    }

    /// The tokens of a session: a new access token with the id `access_id`, which never outlives the session, and the session's
    /// current refresh token, which is a function of its row: minted again, it is the same bytes.
    ///
    /// # Errors
    /// Where signing fails, which a secret cannot cause.
    pub fn mint(
        &self,
        session: &Session,
        access_id: TokenId,
        freshness: Freshness,
    ) -> Result<TokenReply, jsonwebtoken::errors::Error> {
        let expires_at = session.now.plus(self.access_lifetime).min(session.expires_at);
        let sub = session.user_id.to_string();
        let access = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: &sub,
            iat: session.now,
            nbf: session.now,
            exp: expires_at,
            jti: access_id,
            sid: session.id,
            r#type: TokenType::Access.name(),
            fresh: freshness == Freshness::Fresh,
        };
        let refresh = Claims {
            aud: &self.refresh_audience,
            iat: session.refreshed_at,
            nbf: session.refreshed_at,
            exp: session.expires_at,
            jti: session.refresh_id,
            r#type: TokenType::Refresh.name(),
            fresh: false,
            ..access
        };
        Ok(TokenReply {
            access_token: self.access_signer.sign(&access)?,
            refresh_token: self.refresh_signer.sign(&refresh)?,
            token_type: "Bearer",
            expires_in: expires_at.seconds_since(session.now),
        })
    }

    /// What an access token says at `now`. Whether its session lives is another question, for the database.
    pub fn verify_access(&self, token: &str, now: UnixTime) -> Result<Verified, TokenError> {
        self.verify(token, TokenType::Access, &self.audience, now)
    }

    /// What an access token says, even where its time is over at `now`. Good only for ending its session.
    pub fn verify_access_of_any_age(&self, token: &str, now: UnixTime) -> Result<Verified, TokenError> {
        self.verify_all_but_expiry(token, TokenType::Access, &self.audience, now).map(|(verified, _)| verified)
    }

    /// What a refresh token says at `now`; the same holds.
    pub fn verify_refresh(&self, token: &str, now: UnixTime) -> Result<Verified, TokenError> {
        self.verify(token, TokenType::Refresh, &self.refresh_audience, now)
    }

    fn verify(&self, token: &str, kind: TokenType, audience: &str, now: UnixTime) -> Result<Verified, TokenError> {
        let (verified, expires_at) = self.verify_all_but_expiry(token, kind, audience, now)?;
        // "On or after" its time a token is over (RFC 7519 §4.1.4).
        if expires_at <= now { Err(TokenError::Expired) } else { Ok(verified) }
    }

    /// What a token says, and when it expires.
    fn verify_all_but_expiry(
        &self,
        token: &str,
        kind: TokenType,
        audience: &str,
        now: UnixTime,
    ) -> Result<(Verified, UnixTime), TokenError> {
        let header = header_of(token).ok_or(TokenError::Invalid)?;
        let key = header["kid"].as_str().and_then(|kid| self.verifiers.get(kid)).ok_or(TokenError::Invalid)?;
        // The one header we write with that key, and so the one we read (RFC 8725 §3.1, §3.11): no other algorithm or type, no key
        // or certificate to fetch, nothing critical, nothing unknown, nothing null.
        if header != key.header {
            return Err(TokenError::Invalid);
        }
        // A refresh token is between us and us: no key that others hold the public half of, or could, vouches for one.
        if kind == TokenType::Refresh && key.algorithm != Algorithm::HS256 {
            return Err(TokenError::Invalid);
        }
        let decoded = jsonwebtoken::decode::<ReceivedClaims>(token, &key.key, &key.validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        let latest_issue = now.plus(policy::CLOCK_SKEW);
        let ours = claims.iss == self.issuer
            && claims.aud == audience
            && claims.r#type == kind.name()
            && claims.iat <= latest_issue
            && claims.nbf <= latest_issue;
        if !ours {
            return Err(TokenError::Invalid);
        }
        let verified =
            Verified { user_id: UserId(claims.sub), session_id: SessionId(claims.sid), token_id: TokenId(claims.jti) };
        Ok((verified, claims.exp))
    }
}

/// The header as received, whatever it is.
fn header_of(token: &str) -> Option<Value> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    serde_json::from_slice(&header).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::{prelude::*, property_test, sample::select};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        arbitrary,
        security::keys::{KeyPairs, PrivateKey, tests::key_pairs},
    };

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config() -> config::Tokens {
        config::Tokens {
            secret: SECRET.into(),
            additional_secrets: Vec::new(),
            key_pairs: KeyPairs::default(),
            issuer: "jwt-auth".into(),
            audience: "jwt-auth".into(),
            access_lifetime: Duration::from_hours(1),
            session_lifetime: Duration::from_hours(7 * 24),
            refresh_grace: Duration::from_secs(10),
        }
    }

    fn tokens() -> Tokens {
        Tokens::new(&config())
    }

    fn session() -> Session {
        Session {
            id: SessionId(Uuid::from_u128(1)),
            user_id: UserId(7),
            refresh_id: TokenId(Uuid::from_u128(2)),
            refreshed_at: NOW,
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

    /// A token of any header and payload, rightly signed under our secret.
    fn forge(header: &Value, payload: &Value) -> String {
        use aws_lc_rs::hmac;
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn verify(header: &Value, payload: &Value) -> Result<Verified, TokenError> {
        tokens().verify_access(&forge(header, payload), NOW)
    }

    fn with(claim: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[claim] = value;
        claims
    }

    #[test]
    fn a_token_says_whose_it_is_and_which_session_it_belongs_to() {
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

    #[test]
    fn an_access_token_never_outlives_its_session() {
        let ending = Session { expires_at: NOW.plus(Duration::from_mins(1)), ..session() };
        let reply = tokens().mint(&ending, TokenId(Uuid::from_u128(3)), Freshness::Refreshed).unwrap();
        assert_eq!(reply.expires_in, 60);
        assert_eq!(tokens().verify_access(&reply.access_token, UnixTime(NOW.0 + 60)), Err(TokenError::Expired));
        assert_eq!(mint().expires_in, 3600);
    }

    // Requirement 9.
    #[test]
    fn expiry_knows_no_leeway_and_the_future_thirty_seconds() {
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
        Tokens::new(&config::Tokens { secret: secret.into(), additional_secrets, ..config() })
    }

    // Requirement 39.
    #[test]
    fn a_secret_is_rotated_function_by_function_with_nobody_logged_out() {
        const NEXT: &str = "the-next-secret-0123456789abcdef0123";
        // First every function learns to accept the next secret, then one after the other signs with it, then the old one goes.
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
        Tokens::new(&config::Tokens { key_pairs: KeyPairs::new(private.cloned(), additional), ..config() })
    }

    fn mint_with(tokens: &Tokens) -> TokenReply {
        tokens.mint(&session(), TokenId(Uuid::nil()), Freshness::Fresh).unwrap()
    }

    #[test]
    fn a_change_of_algorithm_keeps_old_tokens_good() {
        let kinds = key_pairs();
        let with_secret = mint();
        for key in &kinds {
            let tokens = with_key_pairs(Some(key), &[]);
            let reply = mint_with(&tokens);
            assert!(tokens.verify_access(&reply.access_token, NOW).is_ok());
            assert!(tokens.verify_access(&with_secret.access_token, NOW).is_ok(), "the secret's tokens stay good");
            // Back to the secret, or on to another key: the old one's tokens are good while its public half is known.
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
    fn refresh_tokens_stay_under_the_secret_whatever_signs_access_tokens() {
        for key in &key_pairs() {
            let tokens = with_key_pairs(Some(key), &[]);
            assert_eq!(mint_with(&tokens).refresh_token, mint().refresh_token);
            // A refresh token rightly signed by the key pair is none.
            let forged = Tokens { refresh_signer: key.signer(), ..with_key_pairs(Some(key), &[]) };
            assert_eq!(tokens.verify_refresh(&mint_with(&forged).refresh_token, NOW), Err(TokenError::Invalid));
        }
    }

    fn any_session() -> impl Strategy<Value = Session> {
        (any::<(u128, i32, u128)>(), 0..1_i64 << 40, 0..1_000_000_i64, 1..10_000_i64).prop_map(
            |((id, user_id, refresh_id), now, age, left)| Session {
                id: SessionId(Uuid::from_u128(id)),
                user_id: UserId(user_id),
                refresh_id: TokenId(Uuid::from_u128(refresh_id)),
                refreshed_at: UnixTime(now - age),
                expires_at: UnixTime(now + left),
                now: UnixTime(now),
            },
        )
    }

    // Requirement 9.
    #[property_test]
    fn a_token_says_what_it_was_minted_from_and_only_in_its_own_time(
        #[strategy = any_session()] session: Session,
        access_id: u128,
        #[strategy = prop_oneof![-40..40_i64, any::<i64>()]] offset: i64,
    ) {
        let access_id = TokenId(Uuid::from_u128(access_id));
        let reply = tokens().mint(&session, access_id, Freshness::Fresh).unwrap();
        let access_ends = session.expires_at.min(UnixTime(session.now.0 + 3600));
        assert_eq!(reply.expires_in, access_ends.seconds_since(session.now));
        let said = |token_id, issued: UnixTime, ends: UnixTime, now: UnixTime| match now {
            _ if now.0.saturating_add(30) < issued.0 => Err(TokenError::Invalid),
            _ if now >= ends => Err(TokenError::Expired),
            _ => Ok(Verified { user_id: session.user_id, session_id: session.id, token_id }),
        };
        for moment in [session.refreshed_at, session.now, access_ends, session.expires_at] {
            let now = UnixTime(moment.0.saturating_add(offset));
            let access = tokens().verify_access(&reply.access_token, now);
            assert_eq!(access, said(access_id, session.now, access_ends, now));
            let refresh = tokens().verify_refresh(&reply.refresh_token, now);
            assert_eq!(refresh, said(session.refresh_id, session.refreshed_at, session.expires_at, now));
        }
    }

    /// Tokens of every kind and algorithm, and what verifies all of them.
    static EVERY_KIND: LazyLock<(Tokens, Vec<String>)> = LazyLock::new(|| {
        let keys = key_pairs();
        let signed = keys.iter().map(|key| mint_with(&with_key_pairs(Some(key), &[])).access_token);
        let signed = signed.chain([mint().access_token, mint().refresh_token]).collect();
        (with_key_pairs(None, &keys.each_ref()), signed)
    });

    #[property_test]
    fn a_token_that_is_not_quite_as_it_was_minted_is_none(
        #[strategy = select(EVERY_KIND.1.clone()).prop_flat_map(|text| arbitrary::damaged(&text))] token: String,
    ) {
        assert_eq!(EVERY_KIND.0.verify_access(&token, NOW), Err(TokenError::Invalid));
        assert_eq!(EVERY_KIND.0.verify_refresh(&token, NOW), Err(TokenError::Invalid));
    }

    #[property_test]
    fn what_nobody_minted_is_no_token(
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
    fn a_claim_has_one_type_and_one_spelling(
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
            "sub" => is_in_its_one_spelling::<i32>(&value),
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
    fn a_header_with_anything_else_in_it_is_none(
        #[strategy = prop_oneof!["typ|alg|kid|crit|b64|jku|jwk|x5u|x5c|cty", arbitrary::text()]] name: String,
        #[strategy = arbitrary::json()] value: Value,
    ) {
        let mut other = header();
        other[&name] = value;
        assert_eq!(verify(&other, &claims()).is_ok(), other == header());
    }
}
