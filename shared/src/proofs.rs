//! Proofs of the password by a signed-in user, for actions that need more than a session, and by somebody who has the link of a mail.
//!
//! A wrong password counts as a failed sign-in of the account and the source, and as a failure in the session. So a stolen session allows at most a
//! hundred wrong passwords in a row within seven days, from all sources together. The limit of one session does not stop the user's other sessions.
//! But the failures may close the account to sign-ins from new sources.

use crate::{
    audit::{self, Event},
    counters::{self, Counters},
    db::{Database, DbError, throttle::SignInAccount, users::Account},
    domain::{PresentedSession, Proof, SignInCounters, User},
    environment::{ConfigError, Environment},
    error::ApiError,
    http::Request,
    security::{Password, PasswordHasher, PasswordLink, ProofAttempt},
    sessions::Sessions,
};

/// Checks the passwords of signed-in users, and of people who have the link of a mail.
pub struct PasswordProofs {
    database: Database,
    counters: Box<dyn Counters>,
    hasher: PasswordHasher,
}

/// A counted attempt to prove the password of a live session's user.
pub struct StartedProof {
    /// The session that the request presents.
    pub session: PresentedSession,
    counted: SignInAccount,
    counted_as: ProofAttempt,
}

/// A proof of the password by somebody who has the link of a mail.
pub struct LinkProof {
    /// The account of the link, as it was when the attempt began.
    pub user: User,
    /// The counters of the attempt. If they are in PostgreSQL, the statement that uses the proof undoes its counting. Else it is undone already.
    pub counters: SignInCounters,
}

impl PasswordProofs {
    /// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// If the endpoint is malformed.
    pub fn from_env(env: &Environment, database: &Database) -> Result<Self, ConfigError> {
        let counters = counters::from_env(env, database)?;
        Ok(Self { database: database.clone(), counters, hasher: PasswordHasher::new() })
    }

    /// Authenticates the request and counts an attempt to prove the password. `sets_password` says whether the user wants to set a new password.
    ///
    /// # Errors
    /// As [`Sessions::authenticate`]. [`ApiError::TooManyAttempts`] if there were too many.
    pub async fn begin(
        &self,
        sessions: &Sessions,
        request: &Request,
        sets_password: bool,
    ) -> Result<StartedProof, ApiError> {
        let token = sessions.verify(request)?;
        sessions.refuse_unverified(request).await?;
        let attempt = ProofAttempt { user: token.user_id, session: token.session_id, sets_password };
        let (source, now) = (request.source(), request.arrived_at());
        let found = async { Ok(self.counters.begin_proof(attempt, &source).await?) };
        let (session, found) = tokio::try_join!(sessions.find_presented(token, now), found)?;
        let counted = sessions.or_refuse(&self.database, token.user_id, found).await?;
        let found = StartedProof { session, counted, counted_as: attempt };
        // The password was changed, but this session has not ended in DynamoDB yet. The only request allowed in it is the repetition of this change.
        if found.is_outdated() && !sets_password {
            return Err(ApiError::TokenRevoked);
        }
        // The repetition of a change sets no further password, so their limit does not apply.
        let attempt = ProofAttempt { sets_password: sets_password && !found.is_outdated(), ..attempt };
        self.counters.count_proof(&found.counted, attempt, &source, now).await?;
        Ok(found)
    }

    /// Verifies the password of a counted attempt.
    ///
    /// # Errors
    /// [`ApiError::UserNotFound`] if the account is gone. [`ApiError::WrongPassword`] if the password is wrong.
    /// [`ApiError::TooManyAttempts`] if a counter in DynamoDB has reached its limit in the meantime.
    pub async fn verify(&self, started: &StartedProof, request: &Request, password: &str) -> Result<Proof, ApiError> {
        let account = started.account()?;
        let counters = self.verify_counted(&started.counted, account, request, password).await?;
        let counters = counters.ok_or(ApiError::WrongPassword)?;
        Ok(Proof { session: started.session, user: account.user.clone(), factors: account.factors, counters })
    }

    /// Verifies the password of an account, and completes the counting of the attempt. Returns its counters. `None` if the password is wrong.
    async fn verify_counted(
        &self,
        counted: &SignInAccount,
        account: &Account,
        request: &Request,
        password: &str,
    ) -> Result<Option<SignInCounters>, ApiError> {
        let (password, source, now) = (Password::new(password), request.source(), request.arrived_at());
        let (is_right, counters) = tokio::join!(
            self.hasher.verify(&password, Some(&account.password_hash)),
            self.counters.complete_sign_in_count(counted, &source, now),
        );
        let (counters, is_right) = (counters?, is_right?);
        if !is_right {
            audit::record(Event::SignInFailed, Some(account.user.id));
        }
        Ok(is_right.then_some(counters))
    }

    /// Counts an attempt to prove the password of the account that a link belongs to, as an attempt to sign in to it, and verifies the password.
    ///
    /// # Errors
    /// [`ApiError::InvalidOrExpiredToken`] if the link is not valid. Such attempts are counted for the source. [`ApiError::InvalidCredentials`] if
    /// the password is wrong. [`ApiError::TooManyAttempts`] if there were too many attempts.
    pub async fn prove_with_link(
        &self,
        link: PasswordLink<'_>,
        request: &Request,
        password: &str,
    ) -> Result<LinkProof, ApiError> {
        let (source, now) = (request.source(), request.arrived_at());
        let counted = self.counters.count_link(link, &source, now).await?;
        let Some((counted, account)) = counted.as_ref().and_then(|counted| Some((counted, counted.account.as_ref()?)))
        else {
            self.counters.count(link.attempt_if_invalid(), &source, now).await?;
            return Err(ApiError::InvalidOrExpiredToken);
        };
        let counters = self.verify_counted(counted, account, request, password).await?;
        let counters = counters.ok_or(ApiError::InvalidCredentials)?;
        if !self.counters.are_in_database() {
            self.counters.record_success(&counters).await?;
        }
        Ok(LinkProof { user: account.user.clone(), counters })
    }

    /// Counts a new password that fulfils the rules, and undoes the counting of the attempt in DynamoDB. If the counters are in PostgreSQL, the
    /// statement that sets the password does both.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] if the account has too many new passwords.
    pub async fn count_new_password(
        &self,
        started: &StartedProof,
        proof: &Proof,
        request: &Request,
    ) -> Result<(), ApiError> {
        let counted = async { Ok(self.counters.count_new_password(started.counted_as, request.arrived_at()).await?) };
        // The password is right, so its attempt is no longer counted even if the limit refuses the new password.
        let (counted, recorded) = tokio::join!(counted, self.record_success_in_table(proof));
        recorded?;
        counted
    }

    /// Undoes the counting of a successful attempt in DynamoDB, after its proof was used or at the same time. If this fails, the failures stay counted,
    /// and the client gets its tokens all the same. If the counters are in PostgreSQL, the statement that uses the proof does it.
    pub async fn record_use(&self, proof: &Proof) {
        counters::log_uncleared(proof.user.id, self.record_success_in_table(proof).await);
    }

    async fn record_success_in_table(&self, proof: &Proof) -> Result<(), DbError> {
        if self.counters.are_in_database() { Ok(()) } else { self.counters.record_success(&proof.counters).await }
    }

    /// Undoes the counting of an attempt with the right password that needs a second factor. Earlier failures stay counted.
    ///
    /// # Errors
    /// If the store of the counters fails.
    pub async fn uncount(&self, proof: &Proof) -> Result<(), ApiError> {
        Ok(self.counters.uncount_sign_in(&proof.counters).await?)
    }

    /// Undoes the counting of a successful attempt whose proof is not used.
    ///
    /// # Errors
    /// If the store of the counters fails.
    pub async fn record_success(&self, proof: &Proof) -> Result<(), ApiError> {
        Ok(self.counters.record_success(&proof.counters).await?)
    }
}

impl StartedProof {
    /// Whether the credentials have changed, but the user's sessions in DynamoDB have not been ended yet.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let version = self.counted.account.as_ref().map(|account| account.user.credential_version);
        self.session.in_table.is_some() && self.session.version() != version
    }

    fn account(&self) -> Result<&Account, ApiError> {
        self.counted.account.as_ref().ok_or(ApiError::UserNotFound)
    }
}
