//! Sessions: opening, authenticating, refreshing, listing and ending them.
//!
//! Every token of a session names it. A token is valid only while its session is live, so ending a session takes effect at once. Every endpoint that
//! opens a session or authenticates a request does so with this module.
//!
//! All sessions are in one of two stores: in PostgreSQL, or in DynamoDB if `STATE_TABLE` names a table. The sessions in the other store are ignored.

mod dynamodb;
mod endings;
mod erasures;
mod factors;
mod of_account;
mod password_change;
mod verification;

use std::time::Duration;

use tracing::error;

use self::dynamodb::Opened;
pub(crate) use self::dynamodb::SessionTable;
pub use self::{endings::SessionEndings, erasures::Erasures};
use crate::{
    audit::{self, Event},
    db::{
        ConnectionOfRequest, Database, DbError, sessions,
        users::{self, Account, Profile, SessionOwner},
    },
    domain::{
        Ended, Methods, NewSession, PresentedSession, Proof, Refreshed, Session, SessionId, SignInCounters,
        TableSession, TokenId, UnixMillis, UnixTime, User, UserId, VerifiedToken,
    },
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    security::{
        TokenError, TokenSettings, Tokens, policy,
        token::{Freshness, TokenReply},
        verification_settings,
    },
    state_table::StateTable,
};

/// The sessions of all users.
pub struct Sessions {
    store: Store,
    tokens: Tokens,
    lifetime: Duration,
    refresh_grace: Duration,
    /// Whether sessions of accounts with an unverified address are accepted.
    accepts_unverified: bool,
}

/// Where the sessions are.
pub(crate) enum Store {
    PostgreSql(Database),
    DynamoDb(SessionTable),
}

/// The user and the session of a request. [`Sessions::authenticate`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated {
    /// The user.
    pub user_id: UserId,
    /// The live session of the access token.
    pub session_id: SessionId,
    /// The `jti` of the access token.
    pub token_id: TokenId,
    /// The claim `auth_time` of the access token.
    pub auth_time: Option<UnixTime>,
    /// How the user has authenticated in this session.
    pub methods: Methods,
    /// Whether the address of the user is verified.
    pub email_verified: bool,
    /// Whether the user has signed in or reauthenticated within [`policy::AUTHENTICATION_AGE`], by the stored session and by the access token.
    pub is_fresh: bool,
    /// The session in DynamoDB. `None` if sessions are in PostgreSQL.
    in_table: Option<TableSession>,
}

impl Sessions {
    /// Reads the settings of tokens ([`TokenSettings::from_env`]), `JWT_REFRESH_TOKEN_EXPIRES`, `REFRESH_GRACE`, `REQUIRE_VERIFIED_EMAIL` and
    /// `STATE_TABLE`. `database` is the function's database, if it has one. Without it, sessions in PostgreSQL need the settings of
    /// [`Database::from_env`].
    ///
    /// With `REQUIRE_VERIFIED_EMAIL`, requests of accounts with an unverified address are refused, except after [`Self::with_unverified_accounts`].
    ///
    /// # Errors
    /// If the secret is missing, or a value is malformed.
    pub fn from_env(env: &Environment, database: Option<&Database>) -> Result<Self, ConfigError> {
        let store = match (StateTable::from_env(env)?, database) {
            (Some(table), _) => Store::DynamoDb(SessionTable::new(table)),
            (None, Some(database)) => Store::PostgreSql(database.clone()),
            (None, None) => Store::PostgreSql(Database::from_env(env)?),
        };
        Self::in_store(store, env)
    }

    /// The sessions in this store. Reads the other settings of [`Self::from_env`].
    pub(crate) fn in_store(store: Store, env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            store,
            tokens: Tokens::new(&TokenSettings::from_env(env)?),
            lifetime: env.positive_seconds("JWT_REFRESH_TOKEN_EXPIRES", policy::SESSION_LIFETIME)?,
            refresh_grace: env.seconds("REFRESH_GRACE", policy::REFRESH_GRACE)?,
            accepts_unverified: !verification_settings::is_required(env)?,
        })
    }

    /// Also accepts sessions of accounts with an unverified address, whatever `REQUIRE_VERIFIED_EMAIL` says. Only for functions that verify or manage
    /// the account itself.
    #[must_use]
    pub fn with_unverified_accounts(self) -> Self {
        Self { accepts_unverified: true, ..self }
    }

    /// Opens a session for a user who has proved the password of this account, and returns its tokens. `database` contains the account. If sessions
    /// are in PostgreSQL, the same statement also undoes the counting of the sign-in in `counters_to_clear`.
    ///
    /// # Errors
    /// [`ApiError::SecondFactorRequired`] if the account has a second factor. [`ApiError::InvalidCredentials`] if the user's credentials have changed
    /// since they were read.
    pub async fn open(
        &self,
        request: &Request,
        database: &Database,
        account: &Account,
        counters_to_clear: Option<&SignInCounters>,
    ) -> Result<TokenReply, ApiError> {
        let needs_factor = account.factors.any();
        self.open_with_methods(request, database, &account.user, Methods::PASSWORD, needs_factor, counters_to_clear)
            .await
    }

    /// Opens a session for a user who has authenticated with these methods, which must include a second factor.
    ///
    /// # Errors
    /// [`ApiError::SecondFactorRequired`] if `methods` has no second factor. [`ApiError::InvalidCredentials`] if the user's credentials have changed
    /// since they were read.
    pub async fn open_with_factor(
        &self,
        request: &Request,
        database: &Database,
        user: &User,
        methods: Methods,
    ) -> Result<TokenReply, ApiError> {
        self.open_with_methods(request, database, user, methods, true, None).await
    }

    /// Every sign-in goes through this function, so none skips the second factor. An account that gets a factor also gets another credential version.
    /// So a session is not opened if the account got a factor after it was read.
    async fn open_with_methods(
        &self,
        request: &Request,
        database: &Database,
        user: &User,
        methods: Methods,
        needs_factor: bool,
        counters_to_clear: Option<&SignInCounters>,
    ) -> Result<TokenReply, ApiError> {
        require_factor(needs_factor, methods)?;
        let mut rng = request.rng();
        let new = NewSession {
            id: SessionId::random(&mut rng),
            refresh_id: TokenId::random(&mut rng),
            user,
            source: &request.source(),
            user_agent: request.user_agent(),
            methods,
            auth_time: None,
            lifetime: self.lifetime,
        };
        let opened = match &self.store {
            Store::PostgreSql(database) => sessions::open(database, new, counters_to_clear).await?,
            Store::DynamoDb(table) => match table.open(new, request.arrived_at()).await? {
                Opened::Open(session) => Some(session),
                Opened::Outdated { minimum_version } => {
                    refuse_restored_database(database, user, minimum_version).await?;
                    None
                }
            },
        };
        let session: Session = opened.ok_or(ApiError::InvalidCredentials)?;
        audit::record(Event::SignedIn, Some(user.id));
        self.mint_fresh(request, &session)
    }

    /// Returns the ids of the user and the session of the request. Verifies the access token, and asks the store whether the session is live.
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token or the session has ended. [`ApiError::UserNotFound`] if the user does not exist any more
    /// and the sessions are in PostgreSQL. [`ApiError::EmailNotVerified`] if the address must be verified first.
    pub async fn authenticate(&self, request: &Request) -> Result<Authenticated, ApiError> {
        let token = self.verify(request)?;
        match &self.store {
            Store::PostgreSql(database) => {
                let found = owner_of(users::find_by_session(database, token).await?)?;
                self.accept_owner(token, found).map(|(caller, _)| caller)
            }
            Store::DynamoDb(table) => {
                let session = table.find(token, request.arrived_at()).await?.ok_or(ApiError::TokenRevoked)?;
                self.accept(session.email_verified)?;
                Ok(Authenticated::of(token, session.email_verified, FoundSession::in_table(session, request)))
            }
        }
    }

    /// Like [`Self::authenticate`], and also returns the user's account, which `database` contains.
    ///
    /// # Errors
    /// As [`Self::authenticate`]. [`ApiError::UserNotFound`] if the user does not exist any more.
    pub async fn authenticate_user(
        &self,
        request: &Request,
        database: &Database,
    ) -> Result<(Authenticated, User), ApiError> {
        let token = self.verify(request)?;
        let found = match &self.store {
            Store::PostgreSql(database) => owner_of(users::find_by_session(database, token).await?)?,
            Store::DynamoDb(table) => with_session(table, token, request, users::find(database, token.user_id)).await?,
        };
        self.accept_owner(token, found)
    }

    /// Like [`Self::authenticate_user`], and requires a recent proof, as [`Self::authenticate_fresh`] does.
    ///
    /// # Errors
    /// As [`Self::authenticate_user`] and [`Self::authenticate_fresh`].
    pub async fn authenticate_fresh_user(
        &self,
        request: &Request,
        database: &Database,
    ) -> Result<(Authenticated, User), ApiError> {
        let (caller, profile) = self.authenticate_profile(request, database).await?;
        Ok((caller.require_fresh(profile.factors.any())?, profile.user))
    }

    /// Like [`Self::authenticate`], and requires that the user has signed in or reauthenticated recently (RFC 9470). If the account has a second
    /// factor, it must have been shown.
    ///
    /// # Errors
    /// As [`Self::authenticate`]. [`ApiError::ReauthenticationRequired`] if it was longer ago than [`policy::AUTHENTICATION_AGE`], or if no factor was
    /// shown.
    pub async fn authenticate_fresh(&self, request: &Request) -> Result<Authenticated, ApiError> {
        self.authenticate_fresh_unless(request, |_| false).await
    }

    /// Like [`Self::authenticate_fresh`], but requires no recent proof if `is_exempt`.
    ///
    /// If sessions are in DynamoDB, the account is not read. A second factor is then required if the session has shown one before. That suffices, because
    /// every session that has shown none ends when the account gets a factor.
    ///
    /// # Errors
    /// As [`Self::authenticate_fresh`].
    pub async fn authenticate_fresh_unless(
        &self,
        request: &Request,
        is_exempt: impl Fn(&Authenticated) -> bool,
    ) -> Result<Authenticated, ApiError> {
        let (caller, has_factor) = match &self.store {
            Store::PostgreSql(database) => {
                let (caller, profile) = self.authenticate_profile(request, database).await?;
                (caller, profile.factors.any())
            }
            Store::DynamoDb(_) => {
                let caller = self.authenticate(request).await?;
                (caller, caller.methods.have_second_factor())
            }
        };
        if is_exempt(&caller) { Ok(caller) } else { caller.require_fresh(has_factor) }
    }

    /// Like [`Self::authenticate_user`], and returns the whole profile of the user.
    ///
    /// # Errors
    /// As [`Self::authenticate_user`].
    pub async fn authenticate_profile(
        &self,
        request: &Request,
        database: &Database,
    ) -> Result<(Authenticated, Profile), ApiError> {
        let token = self.verify(request)?;
        let found = match &self.store {
            Store::PostgreSql(database) => owner_of(users::find_profile_by_session(database, token).await?)?,
            Store::DynamoDb(table) => {
                with_session(table, token, request, users::find_profile(database, token.user_id)).await?
            }
        };
        self.accept_owner(token, found)
    }

    /// The result of an authentication, unless the address of the user must be verified first.
    fn accept_owner<T: AsRef<User>>(
        &self,
        token: VerifiedToken,
        (owner, session): (T, FoundSession),
    ) -> Result<(Authenticated, T), ApiError> {
        let email_verified = owner.as_ref().email_verified;
        self.accept(email_verified)?;
        Ok((Authenticated::of(token, email_verified, session), owner))
    }

    /// Refuses a session of an account with an unverified address where that is required.
    fn accept(&self, email_verified: bool) -> Result<(), ApiError> {
        if email_verified || self.accepts_unverified { Ok(()) } else { Err(ApiError::EmailNotVerified) }
    }

    /// Refuses a request of an account with an unverified address where that is required, before a statement that does not check it. Asks the store
    /// only where it is required.
    pub(crate) async fn refuse_unverified(&self, request: &Request) -> Result<(), ApiError> {
        if self.accepts_unverified { Ok(()) } else { self.authenticate(request).await.map(drop) }
    }

    /// Returns a correct body without checking the token: the caller must still authenticate the request. For a malformed body, authenticates the
    /// request first. So a client learns first that it has to sign in again.
    ///
    /// # Errors
    /// As [`Self::authenticate`] if the body is malformed, then the refusal of the body.
    pub async fn authenticate_before<T>(&self, request: &Request, body: Result<T, ApiError>) -> Result<T, ApiError> {
        if body.is_err() {
            self.authenticate(request).await?;
        }
        body
    }

    /// The ids in the access token of the request. The caller must still check whether the session is live, with [`Self::find_presented`].
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token.
    pub(crate) fn verify(&self, request: &Request) -> Result<VerifiedToken, ApiError> {
        Ok(self.tokens.verify_access(request.bearer_token()?, request.now())?)
    }

    /// The session of a verified token, for a statement that requires it to be live. If that statement finds no live session, [`Self::or_refuse`]
    /// returns the refusal. If sessions are in DynamoDB, this function checks that the session is live.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the session has ended in DynamoDB.
    pub(crate) async fn find_presented(
        &self,
        token: VerifiedToken,
        now: UnixMillis,
    ) -> Result<PresentedSession, ApiError> {
        let in_table = match &self.store {
            Store::PostgreSql(_) => None,
            Store::DynamoDb(table) => Some(table.find(token, now).await?.ok_or(ApiError::TokenRevoked)?),
        };
        Ok(PresentedSession { user_id: token.user_id, session_id: token.session_id, in_table })
    }

    /// The session of the request's access token, for a statement that requires it to be live ([`users::change`]). If the statement finds no live
    /// session, [`Self::or_refuse`] returns the refusal.
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token, or if the session has ended in DynamoDB. [`ApiError::EmailNotVerified`] if the address
    /// must be verified first.
    pub async fn presented(&self, request: &Request) -> Result<PresentedSession, ApiError> {
        self.refuse_unverified(request).await?;
        self.find_presented(self.verify(request)?, request.arrived_at()).await
    }

    /// Returns what a statement has `found` that requires the session of the request to be live. If it has found nothing, looks up the session's `user`, and
    /// returns the refusal.
    ///
    /// # Errors
    /// If nothing was found: [`ApiError::UserNotFound`] if the user is gone, else [`ApiError::TokenRevoked`].
    pub async fn or_refuse<T>(&self, database: &Database, user: UserId, found: Option<T>) -> Result<T, ApiError> {
        match found {
            Some(found) => Ok(found),
            None if users::find(database, user).await?.is_none() => Err(ApiError::UserNotFound),
            None => Err(ApiError::TokenRevoked),
        }
    }

    /// Records that the user of the request's session has proved the password again, and returns a new access token and the current refresh token. If
    /// sessions are in PostgreSQL, the same statement also undoes the counting of the attempt.
    ///
    /// # Errors
    /// [`ApiError::SecondFactorRequired`] if the account has a second factor. Then nothing changes. [`ApiError::TokenRevoked`] if the session has ended. If the credentials have changed since the password was verified, the same error in
    /// PostgreSQL. In DynamoDB, the new tokens are then refused at their next use.
    pub async fn renew(
        &self,
        request: &Request,
        Proof { session, user, factors, counters }: &Proof,
    ) -> Result<TokenReply, ApiError> {
        require_factor(factors.any(), Methods::PASSWORD)?;
        self.renew_with(request, *session, user, Methods::PASSWORD, Some(counters)).await
    }

    /// Records that the user of a session has authenticated again with these methods. `user` has the credential version under which the proof was verified.
    async fn renew_with(
        &self,
        request: &Request,
        session: PresentedSession,
        user: &User,
        shown: Methods,
        counters_to_clear: Option<&SignInCounters>,
    ) -> Result<TokenReply, ApiError> {
        let version = user.credential_version;
        let renewed = match (&self.store, session.in_table) {
            (Store::PostgreSql(database), _) => {
                sessions::renew(database, session, version, shown, counters_to_clear).await?
            }
            (Store::DynamoDb(_), None) => None,
            (Store::DynamoDb(table), Some(found)) => {
                let now = request.arrived_at().max(found.auth_time);
                table.renew(session.session_id, user, found.methods.and(shown), now).await?
            }
        };
        let renewed = renewed.ok_or(ApiError::TokenRevoked)?;
        audit::record(Event::Reauthenticated, Some(session.user_id));
        self.mint_fresh(request, &renewed)
    }

    /// The tokens of a session, with the claim `fresh`.
    fn mint_fresh(&self, request: &Request, session: &Session) -> Result<TokenReply, ApiError> {
        Ok(self.tokens.mint(session, TokenId::random(&mut request.rng()), Freshness::Fresh)?)
    }

    /// Exchanges the request's refresh token for its successor and a new access token (RFC 6749 §6, RFC 9700 §4.14.2).
    ///
    /// A client may present the parent of an unused token again within the grace. It then gets the same successor again. Any older token revokes the
    /// session.
    ///
    /// # Errors
    /// A refusal with status 401 if the token is not valid, or 429 if the session is refreshed too often.
    pub async fn refresh(&self, request: &Request) -> Result<TokenReply, ApiError> {
        let verified = self.tokens.verify_refresh(request.bearer_token()?, request.now());
        let token = verified.map_err(|error| match error {
            TokenError::Expired => ApiError::InvalidRefreshToken,
            TokenError::Invalid => ApiError::InvalidToken,
        })?;
        let mut rng = request.rng();
        let successor = TokenId::random(&mut rng);
        let refreshed = match &self.store {
            Store::PostgreSql(database) => sessions::refresh(database, token, successor, self.refresh_grace).await?,
            Store::DynamoDb(table) => table.refresh(token, successor, self.refresh_grace, request.arrived_at()).await?,
        };
        let session = match refreshed {
            Refreshed::Rotated(session) | Refreshed::Repeated(session) => session,
            // The revocation is already committed here, so it stays although the request is refused.
            Refreshed::Reused => {
                audit::record(Event::RefreshReused, Some(token.user_id));
                return Err(ApiError::InvalidRefreshToken);
            }
            Refreshed::TooMany(too_many) => return Err(too_many.into()),
            Refreshed::Gone => return Err(ApiError::InvalidRefreshToken),
        };
        audit::record(Event::Refreshed, Some(token.user_id));
        Ok(self.tokens.mint(&session, TokenId::random(&mut rng), Freshness::Refreshed)?)
    }

    /// The connection of this request, if sessions are in PostgreSQL ([`Database::connection_of_request`]).
    #[must_use]
    pub fn connection_of_request(&self) -> Option<ConnectionOfRequest<'_>> {
        match &self.store {
            Store::PostgreSql(database) => Some(database.connection_of_request()),
            Store::DynamoDb(_) => None,
        }
    }

    /// Whether the sessions are in DynamoDB, so that an export of the database does not contain them.
    #[must_use]
    pub fn are_in_table(&self) -> bool {
        matches!(self.store, Store::DynamoDb(_))
    }

    /// Ends the session of the request's access token. The token may have expired, because it still names the session.
    ///
    /// # Errors
    /// A refusal with status 401 if there is no valid token or the session has already ended. [`ApiError::UserNotFound`] if the user does not exist
    /// any more and the sessions are in PostgreSQL.
    pub async fn end(&self, request: &Request) -> Result<(), ApiError> {
        let token = self.tokens.verify_access_of_any_age(request.bearer_token()?, request.now())?;
        match self.end_session(request, token.user_id, token.session_id).await? {
            Ended::Now => {
                audit::record(Event::SignedOut, Some(token.user_id));
                Ok(())
            }
            Ended::Before => Err(ApiError::TokenRevoked),
            Ended::UserGone => Err(ApiError::UserNotFound),
        }
    }

    async fn end_session(&self, request: &Request, user: UserId, session: SessionId) -> Result<Ended, ApiError> {
        Ok(match &self.store {
            Store::PostgreSql(database) => {
                sessions::end(database, user, session, TokenId::random(&mut request.rng())).await?
            }
            Store::DynamoDb(table) => table.end(user, session, request.arrived_at()).await?,
        })
    }
}

impl Authenticated {
    fn of(
        token: VerifiedToken,
        email_verified: bool,
        FoundSession { auth_time: stored, now, methods, in_table }: FoundSession,
    ) -> Self {
        let VerifiedToken { user_id, session_id, token_id, auth_time } = token;
        // The time in the token is a copy of a stored one. So both are compared with the same clock: that of PostgreSQL, or with DynamoDB that of the function.
        let is_fresh = auth_time.is_some_and(|time| is_recent(time.min(stored), now));
        Self { user_id, session_id, token_id, auth_time, methods, email_verified, is_fresh, in_table }
    }

    /// Refuses a request without a recent proof, or without a second factor if `has_factor` and the session has shown none.
    fn require_fresh(self, has_factor: bool) -> Result<Self, ApiError> {
        if self.is_fresh && (!has_factor || self.methods.have_second_factor()) {
            Ok(self)
        } else {
            Err(ApiError::ReauthenticationRequired { with_second_factor: has_factor })
        }
    }

    /// Requires that the address of the user is verified, whatever `REQUIRE_VERIFIED_EMAIL` says.
    ///
    /// # Errors
    /// [`ApiError::EmailNotVerified`] if it is not.
    pub fn require_verified(self) -> Result<Self, ApiError> {
        if self.email_verified { Ok(self) } else { Err(ApiError::EmailNotVerified) }
    }

    /// The session, for a statement that requires it to be live ([`Sessions::presented`]).
    #[must_use]
    pub fn presented(self) -> PresentedSession {
        PresentedSession { user_id: self.user_id, session_id: self.session_id, in_table: self.in_table }
    }
}

/// What a store says about a live session.
struct FoundSession {
    /// When the user last signed in or reauthenticated.
    auth_time: UnixTime,
    /// The time of the request.
    now: UnixTime,
    methods: Methods,
    in_table: Option<TableSession>,
}

impl FoundSession {
    fn in_table(session: TableSession, request: &Request) -> Self {
        let (auth_time, now) = (session.auth_time.seconds(), request.arrived_at().seconds());
        Self { auth_time, now, methods: session.methods, in_table: Some(session) }
    }
}

/// Whether a sign-in or a reauthentication at `auth_time` is recent. If the clock was set back, `auth_time` may be later than `now`. It is recent then.
fn is_recent(auth_time: UnixTime, now: UnixTime) -> bool {
    now.seconds_since(auth_time) < policy::AUTHENTICATION_AGE.as_secs()
}

/// Refuses to open or renew a session without a second factor if the account has one.
fn require_factor(needs_factor: bool, methods: Methods) -> Result<(), ApiError> {
    if needs_factor && !methods.have_second_factor() { Err(ApiError::SecondFactorRequired) } else { Ok(()) }
}

/// The account, and its session.
fn owner_of<T>(owner: SessionOwner<T>) -> Result<(T, FoundSession), ApiError> {
    match owner {
        SessionOwner::Live { owner, auth_time, now, methods } => {
            Ok((owner, FoundSession { auth_time, now, methods, in_table: None }))
        }
        SessionOwner::SessionEnded => Err(ApiError::TokenRevoked),
        SessionOwner::UserGone => Err(ApiError::UserNotFound),
    }
}

/// The account of a token, which `find` reads while DynamoDB reads the session.
async fn with_session<T: AsRef<User>>(
    table: &SessionTable,
    token: VerifiedToken,
    request: &Request,
    find: impl Future<Output = Result<Option<T>, DbError>>,
) -> Result<(T, FoundSession), ApiError> {
    let (session, owner) = tokio::try_join!(table.find(token, request.arrived_at()), find)?;
    let owner = owner.ok_or(ApiError::UserNotFound)?;
    // The version differs while the sessions of a user still have to end in DynamoDB.
    let session = session.filter(|session| session.version == owner.as_ref().credential_version);
    Ok((owner, FoundSession::in_table(session.ok_or(ApiError::TokenRevoked)?, request)))
}

/// Refuses a sign-in with 503 if the table has a higher version than the account in PostgreSQL. PostgreSQL assigns the versions, so this happens only
/// if PostgreSQL was restored to an earlier state. A new account may then get the id of a lost one, so the table must not be used any more.
async fn refuse_restored_database(database: &Database, user: &User, minimum_version: i32) -> Result<(), ApiError> {
    let now = users::find(database, user.id).await?.map(|user| user.credential_version);
    if now.is_some_and(|version| version < minimum_version) {
        error!(
            user_id = user.id.0,
            "the state table is newer than the database: see `A restore` in docs/operations.md"
        );
        return Err(ApiError::ServiceUnavailable("the state table is newer than the database".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 54.
    #[test]
    fn a_proof_is_recent_for_ten_minutes() {
        let auth_time = UnixTime(1_795_426_221);
        let end = auth_time.plus(policy::AUTHENTICATION_AGE);
        assert!(is_recent(auth_time, UnixTime(end.0 - 1)));
        assert!(!is_recent(auth_time, end));
        assert!(is_recent(auth_time, UnixTime(auth_time.0 - 1)));
    }
}
