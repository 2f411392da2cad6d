use serde::Deserialize;

use super::{Challenge, Rejected, RelyingParty};

/// What the browser says about the request that an authenticator has answered (WebAuthn §5.8.1). Other fields are ignored, as the standard demands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// What an authenticator was asked to do.
#[derive(Clone, Copy)]
pub(super) enum Ceremony {
    /// Create a passkey.
    Create,
    /// Sign with a passkey.
    Get,
}

impl ClientData {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Rejected> {
        serde_json::from_slice(json).map_err(|_| Rejected::Malformed("client data"))
    }

    pub(super) fn challenge(&self) -> Result<Challenge, Rejected> {
        Challenge::parse(&self.challenge).ok_or(Rejected::Malformed("challenge"))
    }

    /// Checks the type and the origin.
    pub(super) fn check(&self, ceremony: Ceremony, relying_party: &RelyingParty) -> Result<(), Rejected> {
        let expected = match ceremony {
            Ceremony::Create => "webauthn.create",
            Ceremony::Get => "webauthn.get",
        };
        if self.r#type != expected {
            return Err(Rejected::Type);
        }
        if !relying_party.origins().contains(&self.origin) {
            return Err(Rejected::Origin);
        }
        if self.cross_origin || self.top_origin.is_some() {
            return Err(Rejected::CrossOrigin);
        }
        Ok(())
    }
}
