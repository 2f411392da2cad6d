//! Second factors in sessions: a session that has shown one again, a new factor, and the removal of one.

use tracing::warn;

use super::{Authenticated, Sessions, Store, endings};
use crate::{
    audit::{self, Event},
    db::{
        Database, DbError,
        factors::{
            passkeys::{self, Added, NewPasskey, Obstacle},
            recovery_codes,
            removals::{self, RemovedFactor},
            totp::{self, Confirmation},
        },
    },
    domain::{FactorChangeId, MailId, Methods, PresentedSession, Source, TableSession, User, UserId},
    error::ApiError,
    http::Request,
    passkeys::rejected,
    security::{RecoveryCode, token::TokenReply, webauthn::Rejected},
};

impl Sessions {
    /// Records that the user of the request's session has shown a second factor with these methods, and returns a new access token and the current refresh token.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the session has ended.
    pub async fn renew_with_factor(
        &self,
        request: &Request,
        session: PresentedSession,
        user: &User,
        shown: Methods,
    ) -> Result<TokenReply, ApiError> {
        self.renew_with(request, session, user, shown, None).await
    }

    /// Makes an enrolment a factor, and ends all sessions of the user. Opens a session that inherits the `auth_time` of the presented one, and returns its
    /// tokens, and whether the account has got the recovery codes. `user` is the account, as it was when the enrolment was read.
    ///
    /// # Errors
    /// [`ApiError::TokenRevoked`] if the presented session has ended, or if the enrolment was replaced or confirmed in the meantime. If DynamoDB fails, the
    /// authenticator is a factor, and the user signs in with it. If it is the first factor, its recovery codes are deleted, because the user has not seen them.
    pub async fn confirm_totp(
        &self,
        request: &Request,
        database: &Database,
        confirmation: Confirmation<'_>,
        user: &User,
    ) -> Result<(TokenReply, bool), ApiError> {
        let (presented, codes, source) = (confirmation.session, confirmation.codes, request.source());
        let replacement = self.replacement(request, &source);
        let confirmed = totp::confirm(database, confirmation, replacement).await?.ok_or(ApiError::TokenRevoked)?;
        audit::record(Event::TotpAdded, Some(user.id));
        let has_codes = confirmed.has_codes;
        if let Some(session) = confirmed.session {
            return Ok((self.mint_fresh(request, &session)?, has_codes));
        }
        let in_table = presented.in_table.ok_or(ApiError::TokenRevoked)?;
        let user = User { credential_version: version_after(in_table), ..user.clone() };
        let replaced = self.replace_in_table(request, database, presented, &user, Methods::ONE_TIME_CODE).await;
        if replaced.is_err() && has_codes {
            delete_unseen_codes(database, user.id, codes).await;
        }
        Ok((replaced?, has_codes))
    }

    /// Adds a passkey, and ends all other sessions of the user. The session of the request stays live, and has shown the passkey.
    ///
    /// # Errors
    /// [`ApiError::PasskeyExists`], [`ApiError::TooManyPasskeys`], and [`ApiError::PasskeyRejected`] if the challenge was used before.
    /// [`ApiError::TokenRevoked`] if the presented session has ended. If DynamoDB fails, the passkey stays added, and the user signs in with
    /// it. If it is the first factor, the recovery codes are deleted, because the user has not seen them.
    pub async fn add_passkey(&self, database: &Database, new: &NewPasskey<'_>) -> Result<Added, ApiError> {
        let user = new.session.user_id;
        let Some(added) = passkeys::add(database, new).await? else {
            return Err(match passkeys::obstacle(database, new).await? {
                Obstacle::Replayed => rejected(Rejected::Replayed, Some(user)),
                Obstacle::Exists => ApiError::PasskeyExists,
                Obstacle::TooMany => ApiError::TooManyPasskeys,
                Obstacle::SessionEnded => ApiError::TokenRevoked,
            });
        };
        audit::record(Event::PasskeyAdded, Some(user));
        let kept = self.keep_in_table(database, new.session, Some(Methods::PASSKEY)).await;
        if kept.is_err() && added.has_codes {
            delete_unseen_codes(database, user, new.codes).await;
        }
        kept.map(|()| added)
    }

    /// After a change that raised the credential version: gives the session of the request the new version in DynamoDB, records that it has shown
    /// `shown`, and ends the others. Does nothing if the sessions are in PostgreSQL, where the statement has done this.
    async fn keep_in_table(
        &self,
        database: &Database,
        presented: PresentedSession,
        shown: Option<Methods>,
    ) -> Result<(), ApiError> {
        let (Store::DynamoDb(table), Some(in_table)) = (&self.store, presented.in_table) else { return Ok(()) };
        let (user, version) = (presented.user_id, version_after(in_table));
        let methods = shown.map_or(in_table.methods, |shown| in_table.methods.and(shown));
        let is_kept = table.keep(user, presented.session_id, TableSession { methods, ..in_table }, version).await?;
        table.raise_minimum_version(user, version).await?;
        endings::record_settled(database, user, version).await;
        if is_kept { Ok(()) } else { Err(ApiError::TokenRevoked) }
    }

    /// Removes a factor of the user of an authenticated request, and ends the user's other sessions. The session of the request stays live.
    ///
    /// # Errors
    /// [`ApiError::TotpNotFound`] or [`ApiError::PasskeyNotFound`] if the account has no such factor. [`ApiError::TokenRevoked`] if the session of the
    /// request has ended. If DynamoDB fails, the factor is removed, and `sweep` ends all sessions of the user.
    pub async fn remove_factor(
        &self,
        request: &Request,
        database: &Database,
        caller: Authenticated,
        factor: RemovedFactor,
    ) -> Result<(), ApiError> {
        let (session, mut rng) = (caller.presented(), request.rng());
        let (change, notice) = (FactorChangeId::random(&mut rng), MailId::random(&mut rng));
        let (event, not_found) = match factor {
            RemovedFactor::Totp => (Event::TotpRemoved, ApiError::TotpNotFound),
            RemovedFactor::Passkey(_) => (Event::PasskeyRemoved, ApiError::PasskeyNotFound),
        };
        let is_removed = removals::remove(database, session, factor, change, notice).await?;
        if !is_removed.ok_or(ApiError::TokenRevoked)? {
            return Err(not_found);
        }
        audit::record(event, Some(caller.user_id));
        self.keep_in_table(database, session, None).await
    }

    /// Whether a user has a live session in DynamoDB that was opened from this source. `None` if sessions are in PostgreSQL.
    pub(crate) async fn is_signed_in_from(
        &self,
        user: UserId,
        source: &Source,
        request: &Request,
    ) -> Result<Option<bool>, DbError> {
        match &self.store {
            Store::PostgreSql(_) => Ok(None),
            Store::DynamoDb(table) => {
                table.is_signed_in_from(user, source.as_str(), request.arrived_at()).await.map(Some)
            }
        }
    }
}

/// The credential version after a change in this session. The statement has demanded the version of the session, and raised it by one. The account may
/// have a higher version by now, because of another change, which must end this session.
fn version_after(session: TableSession) -> i32 {
    session.version + 1
}

/// Deletes the recovery codes that a failed request has made. The user will never see them, so they must not count as codes that the user has.
async fn delete_unseen_codes(database: &Database, user: UserId, codes: &[RecoveryCode]) {
    if let Err(problem) = recovery_codes::delete(database, user, codes).await {
        warn!(user_id = user.0, %problem, "an account has recovery codes that its user has not seen");
    }
}
