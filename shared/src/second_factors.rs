//! Showing a second factor: at a sign-in that waits for it, and in a session.
//!
//! Attempts are counted in PostgreSQL, even if sessions and other counters are in DynamoDB, because each attempt needs PostgreSQL anyway
//! (docs/decisions/0019-factors-are-counted-in-postgresql.md).

use serde_json::Value;

use crate::{
    audit::{self, Event},
    db::{
        Database, DbError,
        factors::attempts::{self, CountedFactor, FactorAttempt, FactorUse, RightFactor, Tried, Warning},
    },
    domain::{FactorChangeId, MailId, Methods, PresentedSession, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    passkeys::{self, Passkeys},
    security::{
        DataKeys, LinkToken, LinkTokenHash, RecoveryCode, TotpCode, TotpSecret, policy,
        webauthn::{AuthenticationResponse, Purpose, Rejected},
    },
    sessions::Sessions,
};

/// Checks second factors.
pub struct SecondFactors {
    database: Database,
    keys: DataKeys,
    passkeys: Option<Passkeys>,
}

/// A second factor that a client has sent.
pub enum SecondFactor {
    /// A code of an authenticator.
    Totp(TotpCode),
    /// A recovery code.
    RecoveryCode(RecoveryCode),
    /// An assertion of a passkey.
    Passkey(Box<AuthenticationResponse>),
}

/// A right second factor. It is used up.
pub struct ShownFactor {
    /// The account.
    pub user: User,
    /// How the user has authenticated with it.
    pub methods: Methods,
    /// If it was a recovery code, and few are left: how many.
    pub recovery_codes_left: Option<i64>,
}

/// Where a factor is shown.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// At the sign-in with this token.
    SignIn(&'a LinkTokenHash),
    /// In this session.
    Session(PresentedSession),
}

impl SecondFactor {
    /// Reads a factor from the fields of a body, of which exactly one is there.
    ///
    /// # Errors
    /// [`ApiError::MissingFactor`] if there is none, or more than one. [`ApiError::InvalidCode`] if it is not a code of its kind.
    /// [`ApiError::PasskeyRejected`] if it is no assertion.
    pub fn parse(
        totp: Option<String>,
        recovery_code: Option<String>,
        passkey: Option<Value>,
    ) -> Result<Self, ApiError> {
        match (totp, recovery_code, passkey) {
            (Some(code), None, None) => TotpCode::parse(&code).map(Self::Totp).ok_or(ApiError::InvalidCode),
            (None, Some(code), None) => RecoveryCode::parse(&code).map(Self::RecoveryCode).ok_or(ApiError::InvalidCode),
            (None, None, Some(passkey)) => passkeys::parse(passkey).map(|assertion| Self::Passkey(Box::new(assertion))),
            _ => Err(ApiError::MissingFactor),
        }
    }
}

impl SecondFactors {
    /// Reads the variables of [`DataKeys::from_env`] and [`Passkeys::from_env`].
    ///
    /// # Errors
    /// If a key is missing, or a value is malformed.
    pub fn from_env(env: &Environment, database: &Database) -> Result<Self, ConfigError> {
        let passkeys = Passkeys::from_env(env, database)?;
        Ok(Self { database: database.clone(), keys: DataKeys::from_env(env)?, passkeys })
    }

    /// The passkeys.
    ///
    /// # Errors
    /// [`ApiError::PasskeysNotConfigured`] if there are none.
    pub fn passkeys(&self) -> Result<&Passkeys, ApiError> {
        self.passkeys.as_ref().ok_or(ApiError::PasskeysNotConfigured)
    }

    /// Shows a factor for the sign-in with this token. Uses both up.
    ///
    /// # Errors
    /// [`ApiError::InvalidMfaToken`] if the token is unknown, used or expired, or if too many factors were tried with it. [`ApiError::InvalidCode`] and
    /// [`ApiError::CodeAlreadyUsed`] or [`ApiError::PasskeyRejected`] if the factor is wrong. [`ApiError::TooManyAttempts`] if there were too many wrong
    /// codes.
    pub async fn show_at_sign_in(
        &self,
        sessions: &Sessions,
        request: &Request,
        token: &LinkToken,
        factor: &SecondFactor,
    ) -> Result<ShownFactor, ApiError> {
        let token = &token.hash();
        let counted = self.count(sessions, request, factor, Place::SignIn(token)).await?;
        let counted = counted.ok_or(ApiError::InvalidMfaToken)?;
        let shown = self.use_up(request, &counted, Place::SignIn(token), factor).await;
        let is_wrong =
            matches!(shown, Err(ApiError::InvalidCode | ApiError::CodeAlreadyUsed | ApiError::PasskeyRejected));
        if is_wrong && counted.attempts >= policy::WRONG_CODES_BEFORE_MAIL {
            let notice = MailId::random(&mut request.rng());
            attempts::warn(&self.database, &counted.user, Warning::PasswordKnown, notice).await?;
        }
        shown?.ok_or(ApiError::InvalidMfaToken)
    }

    /// Shows a factor in the session of the request, and uses it up.
    ///
    /// # Errors
    /// As [`Sessions::presented`]. [`ApiError::InvalidCode`], [`ApiError::CodeAlreadyUsed`] or [`ApiError::PasskeyRejected`] if the factor is wrong.
    /// [`ApiError::TooManyAttempts`] if there were too many wrong codes.
    pub async fn show_in_session(
        &self,
        sessions: &Sessions,
        request: &Request,
        factor: &SecondFactor,
    ) -> Result<(PresentedSession, ShownFactor), ApiError> {
        let session = sessions.presented(request).await?;
        let shown = match self.count(sessions, request, factor, Place::Session(session)).await? {
            Some(counted) => self.use_up(request, &counted, Place::Session(session), factor).await?,
            None => None,
        };
        Ok((session, sessions.or_refuse(&self.database, session.user_id, shown).await?))
    }

    /// Counts an attempt. Refuses a passkey before it is counted if the service offers none. If the account is closed, and sessions are in DynamoDB, asks
    /// there whether the account has a session from this source.
    async fn count(
        &self,
        sessions: &Sessions,
        request: &Request,
        factor: &SecondFactor,
        place: Place<'_>,
    ) -> Result<Option<CountedFactor>, ApiError> {
        if matches!(factor, SecondFactor::Passkey(_)) {
            self.passkeys()?;
        }
        let source = request.source();
        let is_signed_in_here = sessions.are_in_table().then_some(false);
        let is_totp = matches!(factor, SecondFactor::Totp(_));
        let mut attempt = FactorAttempt { source: &source, is_totp, is_signed_in_here };
        let mut tried = self.try_once(place, attempt).await?;
        if let Some(Tried::Refused { user, is_closed: true, .. }) = &tried
            && let Some(true) = sessions.is_signed_in_from(user.id, &source, request).await?
        {
            attempt.is_signed_in_here = Some(true);
            tried = self.try_once(place, attempt).await?;
        }
        match tried {
            Some(Tried::Counted(counted)) => Ok(Some(counted)),
            Some(Tried::Refused { too_many, .. }) => Err(too_many.into()),
            None => Ok(None),
        }
    }

    async fn try_once(&self, place: Place<'_>, attempt: FactorAttempt<'_>) -> Result<Option<Tried>, DbError> {
        match place {
            Place::SignIn(token) => attempts::try_at_sign_in(&self.database, token, attempt).await,
            Place::Session(session) => attempts::try_in_session(&self.database, session, attempt).await,
        }
    }

    /// Compares a factor whose attempt was counted, and uses it up. `None` if another request has completed the sign-in, or
    /// the credentials have changed, since the attempt was counted.
    async fn use_up(
        &self,
        request: &Request,
        counted: &CountedFactor,
        place: Place<'_>,
        factor: &SecondFactor,
    ) -> Result<Option<ShownFactor>, ApiError> {
        let CountedFactor { user, counters, .. } = counted;
        let (token, purpose) = match place {
            Place::SignIn(token) => (Some(token), Purpose::SecondFactor(user.id, token)),
            Place::Session(session) => (None, Purpose::Reauthenticate(session)),
        };
        let right = match factor {
            SecondFactor::Totp(code) => self.right_totp(request, counted, code)?,
            SecondFactor::RecoveryCode(code) => RightFactor::RecoveryCode(code.hash()),
            SecondFactor::Passkey(assertion) => {
                self.passkeys()?.verify_assertion(request, purpose, assertion, Some(user.id)).await?.factor
            }
        };
        let mut rng = request.rng();
        let (change, notice) = (FactorChangeId::random(&mut rng), MailId::random(&mut rng));
        let used = attempts::use_factor(&self.database, user, counters, token, right, change, notice).await?;
        let shown =
            |methods, recovery_codes_left| Some(ShownFactor { user: user.clone(), methods, recovery_codes_left });
        match (factor, used) {
            (_, FactorUse::Outdated) => Ok(None),
            (SecondFactor::Totp(_), FactorUse::UsedUp { .. }) => Ok(shown(Methods::ONE_TIME_CODE, None)),
            (SecondFactor::Totp(_), FactorUse::Wrong) => Err(failed(user, ApiError::CodeAlreadyUsed)),
            (SecondFactor::RecoveryCode(_), FactorUse::UsedUp { recovery_codes_left: left }) => {
                audit::record(Event::RecoveryCodeUsed, Some(user.id));
                Ok(shown(Methods::ONE_TIME_CODE, Some(left).filter(|left| *left <= policy::FEW_RECOVERY_CODES)))
            }
            (SecondFactor::RecoveryCode(_), FactorUse::Wrong) => Err(failed(user, ApiError::InvalidCode)),
            (SecondFactor::Passkey(_), FactorUse::UsedUp { .. }) => Ok(shown(Methods::PASSKEY, None)),
            (SecondFactor::Passkey(_), FactorUse::Wrong) => Err(passkeys::rejected(Rejected::Replayed, Some(user.id))),
        }
    }

    /// Compares a code with the authenticator of the account.
    fn right_totp(&self, request: &Request, counted: &CountedFactor, code: &TotpCode) -> Result<RightFactor, ApiError> {
        let user = &counted.user;
        let totp = counted.totp.as_ref().ok_or_else(|| failed(user, ApiError::InvalidCode))?;
        let secret = self.keys.decrypt(&totp.secret, user.id)?;
        let renewed = self.keys.renew(&totp.secret, &secret, user.id, &mut request.rng());
        match TotpSecret::from_bytes(secret).step_of(code, counted.now) {
            Some(step) if step > totp.last_step => Ok(RightFactor::Totp { step, renewed }),
            Some(_) => Err(failed(user, ApiError::CodeAlreadyUsed)),
            None => Err(failed(user, ApiError::InvalidCode)),
        }
    }
}

/// Records that a factor was wrong, and returns the refusal.
fn failed(user: &User, refusal: ApiError) -> ApiError {
    audit::record(Event::SecondFactorFailed, Some(user.id));
    refusal
}
