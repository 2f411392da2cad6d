use aws_lc_rs::digest::{SHA256, digest};

use crate::environment::{ConfigError, Environment};

/// The application that users sign in to with passkeys: the domain that passkeys belong to, and the origins of its pages.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    id: String,
    id_hash: [u8; 32],
    origins: Vec<String>,
}

impl RelyingParty {
    /// Reads `PASSKEY_RP_ID` and `PASSKEY_ORIGINS`, which are separated by commas. `None` if the id is not set. Without origins, the only one is
    /// `https://` and the id.
    ///
    /// # Errors
    /// If the id is no domain in lower case, if an origin is no origin, or if there are origins without an id.
    pub fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let malformed = |name, expected| ConfigError::Malformed { name, expected };
        let (name, origins) = ("PASSKEY_RP_ID", "PASSKEY_ORIGINS");
        let Some(id) = env.optional(name) else {
            let is_unset = env.optional(origins).is_none();
            return if is_unset { Ok(None) } else { Err(malformed(name, "a domain, because PASSKEY_ORIGINS is set")) };
        };
        if !is_domain(id) {
            return Err(malformed(name, "a domain in lower case, without a port, such as `example.com`"));
        }
        let origins = match env.optional(origins) {
            None => vec![format!("https://{id}")],
            Some(list) => list.split(',').map(|origin| origin.trim().to_owned()).collect(),
        };
        if !origins.iter().all(|origin| is_origin(origin)) {
            let expected =
                "origins separated by commas, such as `https://app.example.com`, without a path and in lower case";
            return Err(malformed("PASSKEY_ORIGINS", expected));
        }
        let mut id_hash = [0; 32];
        id_hash.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
        Ok(Some(Self { id: id.to_owned(), id_hash, origins }))
    }

    /// The RP ID: the domain.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the id, which authenticators sign.
    pub(super) fn id_hash(&self) -> &[u8; 32] {
        &self.id_hash
    }

    /// The origins that may use the passkeys.
    #[must_use]
    pub fn origins(&self) -> &[String] {
        &self.origins
    }
}

/// Whether this is a domain that may be an RP ID (WebAuthn §4). `localhost` is one.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether this is the origin of a page that may use passkeys, or of an Android app.
fn is_origin(text: &str) -> bool {
    if let Some(hash) = text.strip_prefix("android:apk-key-hash:") {
        return !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    }
    let (is_secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return false,
    };
    let (host, port) = rest.split_once(':').unwrap_or((rest, "1"));
    // Browsers offer passkeys to pages without TLS only on the developer's own machine.
    let is_local = host == "localhost" || host.ends_with(".localhost");
    is_domain(host) && port.parse::<u16>().is_ok() && (is_secure || is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: &str, origins: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let env = Environment::with(&[("PASSKEY_RP_ID", id), ("PASSKEY_ORIGINS", origins)]);
        Ok(RelyingParty::from_env(&env)?.map(|party| party.origins))
    }

    #[test]
    fn without_an_id_there_are_no_passkeys() {
        assert_eq!(parse("", "").unwrap(), None);
        assert!(parse("", "https://example.com").is_err());
    }

    #[test]
    fn origins_are_compared_as_they_are_written() {
        assert_eq!(parse("example.com", "").unwrap().unwrap(), ["https://example.com"]);
        let several =
            "https://example.com, https://app.example.com:8443,http://localhost:3000,android:apk-key-hash:aZ-_9";
        assert_eq!(parse("example.com", several).unwrap().unwrap().len(), 4);
        for malformed in [
            "https://example.com/",
            "http://example.com",
            "example.com",
            "https://EXAMPLE.com",
            "https://a b",
            ",",
            "*",
        ] {
            assert!(parse("example.com", malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn an_id_is_a_domain() {
        for id in ["example.com", "localhost", "a-b.example.co.uk"] {
            assert!(parse(id, "").is_ok(), "{id}");
        }
        for malformed in ["https://example.com", "Example.com", "example.com:443", "-a.com", "a..com", "exämple.com"] {
            assert!(parse(malformed, "").is_err(), "{malformed}");
        }
    }
}
