//! Passkeys: options for browsers, and checking what they return (WebAuthn Level 3).

use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::info;

use crate::{
    audit::{self, Event},
    db::{
        Database,
        factors::{
            attempts::{self, RightFactor, Warning},
            passkeys,
        },
    },
    domain::{FactorCounters, MailId, User, UserId},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    security::{
        DataKeys,
        webauthn::{
            self, AuthenticationResponse, Challenge, Challenges, CreationOptions, KnownPasskey, NewCredential, Purpose,
            RegistrationResponse, Rejected, RelyingParty, RequestOptions, UserOfCreation,
        },
    },
};

/// The passkeys of the application.
pub struct Passkeys {
    database: Database,
    relying_party: RelyingParty,
    challenges: Challenges,
}

/// A verified assertion, which is not used up yet.
pub struct ShownPasskey {
    /// The account of the passkey.
    pub user: User,
    /// The counters of wrong codes for this account.
    pub counters: FactorCounters,
    /// The assertion.
    pub factor: RightFactor,
}

impl Passkeys {
    /// Reads `PASSKEY_RP_ID` and `PASSKEY_ORIGINS`, and with them the variables of [`DataKeys::from_env`]. `None` if there are no passkeys.
    ///
    /// # Errors
    /// If a value is missing or malformed.
    pub fn from_env(env: &Environment, database: &Database) -> Result<Option<Self>, ConfigError> {
        let Some(relying_party) = RelyingParty::from_env(env)? else { return Ok(None) };
        let challenges = Challenges::new(&DataKeys::from_env(env)?);
        Ok(Some(Self { database: database.clone(), relying_party, challenges }))
    }

    /// The domain that the passkeys belong to.
    #[must_use]
    pub fn rp_id(&self) -> &str {
        self.relying_party.id()
    }

    /// Options for a new passkey. `product` is the name that the browser may show.
    #[must_use]
    pub fn creation_options(
        &self,
        request: &Request,
        purpose: Purpose<'_>,
        product: &str,
        user: &UserOfCreation<'_>,
        known: &[KnownPasskey],
    ) -> CreationOptions {
        CreationOptions::new(&self.relying_party, product, user, known, &self.challenge(request, purpose))
    }

    /// Options for an assertion by one of these passkeys. If there are none, the user may choose any passkey.
    #[must_use]
    pub fn request_options(&self, request: &Request, purpose: Purpose<'_>, allowed: &[KnownPasskey]) -> RequestOptions {
        RequestOptions::new(&self.relying_party, allowed, &self.challenge(request, purpose))
    }

    fn challenge(&self, request: &Request, purpose: Purpose<'_>) -> Challenge {
        self.challenges.issue(purpose, &self.relying_party, request.now(), &mut request.rng())
    }

    /// Verifies a new passkey. Returns it, and the challenge that the authenticator has answered, which is not used up yet.
    ///
    /// # Errors
    /// [`ApiError::PasskeyRejected`] if it fails the verification.
    pub fn verify_registration(
        &self,
        request: &Request,
        purpose: Purpose<'_>,
        registration: &RegistrationResponse,
        user: UserId,
    ) -> Result<(NewCredential, Challenge), ApiError> {
        let challenge = self.checked_challenge(request, purpose, registration.client_data());
        let verified = challenge
            .and_then(|challenge| Ok((webauthn::verify_registration(&self.relying_party, registration)?, challenge)));
        verified.map_err(|reason| rejected(reason, Some(user)))
    }

    /// Verifies an assertion. `owner` is the user that the purpose names. Without one, the authenticator must name the account. Reads the database only
    /// if the challenge is right. Writes a warning into the outbox if there may be a copy of the passkey.
    ///
    /// # Errors
    /// [`ApiError::PasskeyRejected`] if it fails the verification.
    pub async fn verify_assertion(
        &self,
        request: &Request,
        purpose: Purpose<'_>,
        assertion: &AuthenticationResponse,
        owner: Option<UserId>,
    ) -> Result<ShownPasskey, ApiError> {
        let challenge = self.checked_challenge(request, purpose, assertion.client_data());
        let named =
            challenge.and_then(|challenge| Ok((challenge, assertion.credential_id()?, assertion.user_handle()?)));
        let (challenge, id, handle) = named.map_err(|reason| rejected(reason, owner))?;
        let found = passkeys::find(&self.database, &id, self.rp_id(), &request.source(), &challenge).await?;
        let found = found.filter(|found| {
            let is_named = handle.as_ref().map_or(owner.is_some(), |handle| *handle == found.handle);
            is_named && owner.is_none_or(|owner| owner == found.user.id)
        });
        let found = found.ok_or_else(|| rejected(Rejected::Credential, owner))?;
        let user = found.user;
        // A client that repeats a request must not cause the warning about a copy.
        if found.is_replayed {
            return Err(rejected(Rejected::Replayed, Some(user.id)));
        }
        match webauthn::verify_assertion(&self.relying_party, assertion, &found.credential) {
            Ok(asserted) => {
                let factor = RightFactor::Passkey { passkey: found.id, asserted, challenge };
                Ok(ShownPasskey { user, counters: found.counters, factor })
            }
            Err(reason) => {
                if reason == Rejected::Counter {
                    let notice = MailId::random(&mut request.rng());
                    attempts::warn(&self.database, &user, Warning::PasskeyCopied, notice).await?;
                }
                Err(rejected(reason, Some(user.id)))
            }
        }
    }

    fn checked_challenge(
        &self,
        request: &Request,
        purpose: Purpose<'_>,
        client_data: &str,
    ) -> Result<Challenge, Rejected> {
        let challenge = webauthn::challenge_of(client_data)?;
        self.challenges.check(&challenge, purpose, &self.relying_party, request.now())?;
        Ok(challenge)
    }
}

/// Reads what a browser has returned.
///
/// # Errors
/// [`ApiError::PasskeyRejected`] if a field is missing or is no text.
pub fn parse<T: DeserializeOwned>(response: Value) -> Result<T, ApiError> {
    serde_json::from_value(response).map_err(|_| rejected(Rejected::Malformed("response"), None))
}

/// Records that a passkey was rejected, and returns the refusal, which does not name the reason.
#[must_use]
pub fn rejected(reason: Rejected, user: Option<UserId>) -> ApiError {
    info!(%reason, "a passkey was rejected");
    // Anybody can send nonsense to the sign-in. Only what answers a challenge of this service, or concerns an account, is a security event.
    if user.is_some() || !matches!(reason, Rejected::Malformed(_) | Rejected::Challenge) {
        audit::record(Event::PasskeyRejected, user);
    }
    ApiError::PasskeyRejected
}
