//! Tokens of generated sessions. Each is a token of a real sign-in, whose claims are changed and which is signed again.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// The tokens of a sign-in, and the secret that signs them.
pub struct Tokens {
    pub secret: String,
    pub access: String,
    pub refresh: String,
}

/// A generated session. The ids are those of its row in `sessions`.
pub struct GeneratedSession {
    pub id: String,
    pub user: String,
    pub refresh_id: String,
}

impl Tokens {
    /// An access token of this session.
    pub fn access(&self, session: &GeneratedSession) -> Result<String> {
        self.change(&self.access, &[("sid", &session.id), ("sub", &session.user)])
    }

    /// The refresh token of this session.
    pub fn refresh(&self, session: &GeneratedSession) -> Result<String> {
        let claims = [("sid", &*session.id), ("sub", &*session.user), ("jti", &*session.refresh_id)];
        self.change(&self.refresh, &claims)
    }

    /// The token with these claims in place of its own.
    fn change(&self, token: &str, claims: &[(&str, &str)]) -> Result<String> {
        let mut parts = token.split('.');
        let (header, payload) = parts.next().zip(parts.next()).context("a token has three parts")?;
        let mut payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
        for (name, value) in claims {
            payload[name] = (*value).into();
        }
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload.to_string()));
        let mut signature = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())?;
        signature.update(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_its_header_and_its_other_claims_and_has_a_valid_signature() {
        let token = format!(
            "{}.{}.signature",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"iss":"jwt-auth","sid":"a","sub":"1","jti":"b"}"#)
        );
        let tokens = Tokens { secret: "secret".to_owned(), access: token.clone(), refresh: token };
        let session = GeneratedSession { id: "c".to_owned(), user: "2".to_owned(), refresh_id: "d".to_owned() };
        let refresh = tokens.refresh(&session).unwrap();
        let parts: Vec<_> = refresh.split('.').collect();
        assert_eq!(parts[0], URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims, serde_json::json!({ "iss": "jwt-auth", "sid": "c", "sub": "2", "jti": "d" }));
        let mut signature = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        signature.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
        assert!(signature.verify_slice(&URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).is_ok());
    }
}
