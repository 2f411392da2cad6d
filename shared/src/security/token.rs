//! Access and refresh tokens: JSON Web Tokens (RFC 7519) that name a session.
//!
//! `jsonwebtoken` checks algorithm and signature. It would let much else through: unknown `crit`, any `typ`, missing `iss` and
//! `aud`, arrays where strings belong, a minute of leeway. [`Tokens`] closes all of that in one place: the header must be exactly
//! the one we write, every claim must be there with its type, and time is compared here, with the caller's `now`.

use std::{collections::HashMap, time::Duration};

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenType {
    Access,
    Refresh,
}

/// The claims of both kinds, all required and typed.
#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    jti: TokenId,
    sid: SessionId,
    r#type: TokenType,
    fresh: bool,
}

/// The same, as received. `others` is there for what it does to serde: with it, only an object is a set of claims, where
/// an array of the right length would be one without.
#[derive(Deserialize)]
struct ReceivedClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    jti: TokenId,
    sid: SessionId,
    r#type: TokenType,
    #[serde(rename = "fresh")]
    _fresh: bool,
    #[serde(flatten)]
    _others: HashMap<String, Value>,
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
            access_signer: config.key_pairs.private.as_ref().map_or_else(secret_signer, keys::PrivateKey::signer),
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
            r#type: TokenType::Access,
            fresh: freshness == Freshness::Fresh,
        };
        let refresh = Claims {
            aud: &self.refresh_audience,
            iat: session.refreshed_at,
            nbf: session.refreshed_at,
            exp: session.expires_at,
            jti: session.refresh_id,
            r#type: TokenType::Refresh,
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

    /// What a refresh token says at `now`; the same holds.
    pub fn verify_refresh(&self, token: &str, now: UnixTime) -> Result<Verified, TokenError> {
        self.verify(token, TokenType::Refresh, &self.refresh_audience, now)
    }

    fn verify(&self, token: &str, kind: TokenType, audience: &str, now: UnixTime) -> Result<Verified, TokenError> {
        let key_id =
            jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid).ok_or(TokenError::Invalid)?;
        let key = self.verifiers.get(&key_id).ok_or(TokenError::Invalid)?;
        // A refresh token is between us and us: no key that others hold the public half of, or could, vouches for one.
        if kind == TokenType::Refresh && key.header.alg != Algorithm::HS256 {
            return Err(TokenError::Invalid);
        }
        let decoded = jsonwebtoken::decode::<ReceivedClaims>(token, &key.key, &key.validation);
        let decoded = decoded.map_err(|_| TokenError::Invalid)?;
        let claims = decoded.claims;
        let latest_issue = now.plus(policy::CLOCK_SKEW);
        // The one header we write with that key, and so the one we read (RFC 8725 §3.1, §3.11): no other algorithm or type, no key
        // or certificate to fetch, nothing critical, nothing unknown.
        let ours = decoded.header == key.header
            && claims.iss == self.issuer
            && claims.aud == audience
            && claims.r#type == kind
            && claims.iat <= latest_issue
            && claims.nbf <= latest_issue;
        if !ours {
            return Err(TokenError::Invalid);
        }
        let verified = Verified {
            user_id: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
            session_id: claims.sid,
            token_id: claims.jti,
        };
        // "On or after" its time a token is over (RFC 7519 §4.1.4).
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(verified) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::security::keys::{KeyPairs, PrivateKey, tests::key_pairs};

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

    // Requirement 7.
    #[test]
    fn neither_kind_serves_as_the_other() {
        let reply = mint();
        assert_eq!(tokens().verify_access(&reply.refresh_token, NOW), Err(TokenError::Invalid));
        assert_eq!(tokens().verify_refresh(&reply.access_token, NOW), Err(TokenError::Invalid));
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

    // Requirements 1, 2.
    #[test]
    fn only_the_header_we_write_is_read() {
        assert!(verify(&header(), &claims()).is_ok());
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("nonE")),
            ("alg", json!("HS384")),
            ("alg", json!("RS256")),
            ("typ", json!("at+jwt")),
            ("typ", json!(null)),
            ("cty", json!("JWT")),
            ("kid", json!("../../dev/null")),
            ("kid", json!("")),
            ("kid", json!(null)),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("jku", json!("http://127.0.0.1/keys")),
            ("x5u", json!("http://127.0.0.1/keys")),
            ("x5c", json!([])),
            ("jwk", json!({"kty": "oct", "k": "AA"})),
            ("zip", json!("DEF")),
            ("anything", json!(1)),
        ] {
            let mut header = header();
            header[name] = value;
            assert_eq!(verify(&header, &claims()), Err(TokenError::Invalid), "{header}");
        }
    }

    // Requirement 8.
    #[test]
    fn every_claim_is_required_and_typed() {
        for claim in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "type", "fresh"] {
            let mut without = claims();
            without.as_object_mut().unwrap().remove(claim);
            assert_eq!(verify(&header(), &without), Err(TokenError::Invalid), "without {claim}");
            for wrong in [json!(null), json!([claims()[claim]]), json!({}), json!(1.5), json!("x")] {
                assert_eq!(
                    verify(&header(), &with(claim, wrong.clone())),
                    Err(TokenError::Invalid),
                    "{claim}: {wrong}"
                );
            }
        }
        let array: Vec<Value> = claims().as_object().unwrap().values().cloned().collect();
        assert_eq!(verify(&header(), &json!(array)), Err(TokenError::Invalid));
        assert!(verify(&header(), &with("role", json!("admin"))).is_ok(), "an unknown claim means nothing");
    }

    #[test]
    fn a_token_of_another_secret_issuer_or_audience_is_refused() {
        assert_eq!(verify(&header(), &with("iss", json!("jwt-auth2"))), Err(TokenError::Invalid));
        assert_eq!(verify(&header(), &with("aud", json!("jwt-auth/refresh"))), Err(TokenError::Invalid));
        let token = forge(&header(), &claims());
        let (message, _) = token.rsplit_once('.').unwrap();
        for signature in ["", "AAAA", "."] {
            assert_eq!(tokens().verify_access(&format!("{message}.{signature}"), NOW), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", ".", "..", "a.b.c", "null", "ey.ey.ey", "🐎.🐎.🐎"] {
            assert_eq!(tokens().verify_access(text, NOW), Err(TokenError::Invalid), "{text}");
        }
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
        Tokens::new(&config::Tokens { key_pairs: KeyPairs { private: private.cloned(), additional }, ..config() })
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

    // Requirement 1.
    #[test]
    fn a_public_key_is_no_secret() {
        // The classic confusion (RFC 8725 §2.1): the published key, used as an HMAC secret, under its own `kid`.
        for key in &key_pairs() {
            let tokens = with_key_pairs(Some(key), &[]);
            let jwk = serde_json::to_value(key.public().as_jwk()).unwrap();
            for header in [
                json!({"typ": "JWT", "alg": "HS256", "kid": jwk["kid"]}),
                json!({"typ": "JWT", "alg": jwk["alg"], "kid": header()["kid"]}),
            ] {
                assert_eq!(tokens.verify_access(&forge(&header, &claims()), NOW), Err(TokenError::Invalid), "{header}");
            }
        }
    }
}
