//! Sessions in DynamoDB. The partition `u#<user>` of [`StateTable`] holds the user's sessions, `s#<session>`, and the item `account`.
//!
//! `minimum_version` in the item `account` is the lowest credential version whose sessions are live. It only rises. Without the item, sessions of every
//! version are live. The item expires only after an erasure has begun. `verified_version` is the credential version under which the address was
//! verified. It rises until the account is erased. The item of a session says whether the address was verified when the session was opened. A session of
//! the verified version is also verified. Within one version, no address becomes unverified. A session is live while its item exists, it has not expired,
//! and its `version` is at least the minimum. Ending one session deletes its item. Every update of a session demands that the item exists, so no late
//! request brings an ended session back.
//!
//! The function's clock decides whether a session has expired and whether the grace has ended. It is read once for each request, and checked against
//! DynamoDB's clock at every call.

mod stored;

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tracing::warn;

use self::stored::{AccountItem, Counting, PartitionContent, StoredSession, account_key, id, partition, session_key};
use crate::{
    db::DbError,
    domain::{
        Ended, ListedSession, Methods, NewSession, Refreshed, Session, SessionId, TableSession, TokenId, UnixMillis,
        UnixTime, User, UserId, VerifiedToken,
    },
    security::policy,
    state_table::{Deleted, Key, StateTable, Update, Updated, number, within},
};

/// The sessions in the table.
#[derive(Clone)]
pub(crate) struct SessionTable(StateTable);

/// The result of opening a session.
pub(super) enum Opened {
    /// It is open.
    Open(Session),
    /// The account's minimum version is higher than the version that the sign-in read. The session is not live.
    Outdated { minimum_version: i32 },
}

/// A sign-in deletes at most this many ended sessions. A change of credentials ends sessions without deleting their items, so a partition could
/// otherwise become very large before the items expire.
const ENDED: usize = 25;

/// How many sessions are deleted at the same time.
const DELETIONS: usize = 16;

/// The maximum number of times that a refresh is tried. A try fails if another request has changed the session in the meantime.
const CONFLICTS: usize = 100;

impl SessionTable {
    /// The sessions in this table.
    pub(crate) fn new(table: StateTable) -> Self {
        Self(table)
    }

    /// Opens a session. Ends the sessions that exceed [`policy::SESSIONS_OF_ACCOUNT`], those that were unused for the longest time first. Raises the
    /// account's minimum version to the version of the session.
    pub(super) async fn open(&self, new: NewSession<'_>, now: UnixMillis) -> Result<Opened, DbError> {
        let user = new.user.id;
        let session = StoredSession::open(&new, now);
        let partition = partition(user);
        within(async {
            let ((), items) = tokio::try_join!(self.0.put(session.to_item(user)), self.0.query(&partition))?;
            let PartitionContent { account, live, ended } = PartitionContent::of(&items, now);
            let minimum_version = account.minimum_version;
            if minimum_version > session.version {
                return Ok(Opened::Outdated { minimum_version });
            }
            if minimum_version < session.version {
                self.raise_minimum_version(user, session.version).await?;
            }
            let others = live.iter().filter(|other| other.id != session.id);
            let kept = usize::try_from(policy::SESSIONS_OF_ACCOUNT - 1).unwrap_or(0);
            let evicted = others.skip(kept).map(|other| other.id).chain(ended.into_iter().take(ENDED));
            let delete = async |id| self.0.delete(&session_key(user, id)).await.map(drop);
            let deleted = stream::iter(evicted).map(Ok).try_for_each_concurrent(DELETIONS, delete).await;
            // The session is open and may have replaced others, so its tokens must not be lost. The next sign-in deletes what is left.
            if let Err(problem) = deleted {
                warn!(user_id = user.0, %problem, "sessions above the maximum number were not deleted");
            }
            Ok(Opened::Open(session.session(user, account, now)))
        })
        .await
    }

    /// The session of a token. `None` if it is not live.
    pub(super) async fn find(&self, token: VerifiedToken, now: UnixMillis) -> Result<Option<TableSession>, DbError> {
        let (account, live) = self.find_live(token.user_id, token.session_id, now).await?;
        Ok(live.map(|session| TableSession {
            version: session.version,
            auth_time: session.auth_time,
            methods: session.methods,
            email_verified: session.is_verified(account),
        }))
    }

    /// The values from which the tokens of a session are created. `None` if it is not live.
    pub(super) async fn current(
        &self,
        user: UserId,
        session: SessionId,
        now: UnixMillis,
    ) -> Result<Option<Session>, DbError> {
        let (account, live) = self.find_live(user, session, now).await?;
        Ok(live.map(|session| session.session(user, account, now)))
    }

    async fn find_live(
        &self,
        user: UserId,
        session: SessionId,
        now: UnixMillis,
    ) -> Result<(AccountItem, Option<StoredSession>), DbError> {
        let (account, session) = within(self.account_and_session(user, session)).await?;
        Ok((account, session.filter(|session| session.is_live(account, now))))
    }

    /// Records that the user of a session has authenticated again, by now with these methods, and whether the address is verified. `user` has the
    /// credential version under which the proof was verified. `None` if the session was deleted since then. If it is below the minimum version, its
    /// tokens are refused at their next use.
    pub(super) async fn renew(
        &self,
        session: SessionId,
        user: &User,
        methods: Methods,
        now: UnixMillis,
    ) -> Result<Option<Session>, DbError> {
        let key = session_key(user.id, session);
        let renew = self.0.update(Update {
            key: &key,
            change: "SET auth_time = :now, amr = :amr, email_verified = :verified",
            condition: "attribute_exists(refresh_id) AND version = :version",
            values: vec![
                (":now", number(now.0)),
                (":amr", number(methods.to_stored().into())),
                (":verified", number(user.email_verified.into())),
                (":version", number(user.credential_version.into())),
            ],
        });
        let account = AccountItem::default();
        Ok(match within(renew).await? {
            Updated::Done(item) => {
                Some(StoredSession::read(&item).ok_or_else(malformed)?.session(user.id, account, now))
            }
            Updated::Refused(_) => None,
        })
    }

    /// Gives a session, as it was found, a higher version, so that it stays live when the minimum version rises. Writes the methods and whether the
    /// address is verified, too. Returns whether the session was still there.
    pub(super) async fn keep(
        &self,
        user: UserId,
        session: SessionId,
        found: TableSession,
        version: i32,
    ) -> Result<bool, DbError> {
        let key = session_key(user, session);
        let keep = self.0.update(Update {
            key: &key,
            change: "SET version = :new, amr = :amr, email_verified = :verified",
            condition: "attribute_exists(refresh_id) AND (version = :found OR version = :new)",
            values: vec![
                (":found", number(found.version.into())),
                (":new", number(version.into())),
                (":amr", number(found.methods.to_stored().into())),
                // `verified_version` is lower than the new version, so the session itself must say that the address is verified.
                (":verified", number(found.email_verified.into())),
            ],
        });
        Ok(matches!(within(keep).await?, Updated::Done(_)))
    }

    /// Whether a user has a live session that was opened from this source.
    pub(crate) async fn is_signed_in_from(&self, user: UserId, source: &str, now: UnixMillis) -> Result<bool, DbError> {
        let items = within(self.0.query(&partition(user))).await?;
        Ok(PartitionContent::of(&items, now).live.iter().any(|session| session.source.as_deref() == Some(source)))
    }

    /// Presents a refresh token. `successor` becomes the id of the next refresh token if this call rotates.
    ///
    /// A conditional update decides. So of many calls with one token at the same time, one rotates the token and the others get the same successor.
    pub(super) async fn refresh(
        &self,
        token: VerifiedToken,
        successor: TokenId,
        grace: Duration,
        now: UnixMillis,
    ) -> Result<Refreshed, DbError> {
        within(async {
            let (account, mut read) = self.account_and_session(token.user_id, token.session_id).await?;
            for _ in 0..CONFLICTS {
                let Some(session) = read.filter(|session| session.is_live(account, now)) else {
                    return Ok(Refreshed::Gone);
                };
                let is_current = session.refresh_id == token.token_id;
                let is_parent = session.previous_refresh_id == Some(token.token_id);
                if session.refresh_id == successor {
                    // The SDK sent the update twice: the first one rotated the token, and its answer was lost.
                    return Ok(Refreshed::Rotated(session.session(token.user_id, account, now)));
                }
                let may_repeat = is_parent && now.since(session.refreshed_at) <= grace;
                if !is_current && !may_repeat {
                    let deleted = self.0.delete(&session_key(token.user_id, token.session_id)).await?;
                    return Ok(match deleted {
                        Deleted::Item(_) | Deleted::Perhaps => Refreshed::Reused,
                        Deleted::Nothing => Refreshed::Gone,
                    });
                }
                let counting = match Counting::of(&session, now) {
                    Ok(counting) => counting,
                    Err(too_many) => return Ok(Refreshed::TooMany(too_many)),
                };
                let rotation = is_current.then_some(successor);
                match self.count_refresh(token, &session, counting, rotation, now).await? {
                    Updated::Done(item) => {
                        let session = StoredSession::read(&item).ok_or_else(malformed)?;
                        let session = session.session(token.user_id, account, now);
                        return Ok(if is_current { Refreshed::Rotated(session) } else { Refreshed::Repeated(session) });
                    }
                    Updated::Refused(changed) => read = changed.as_ref().and_then(StoredSession::read),
                }
            }
            Err(DbError::Unavailable("a session of the state table changed too often".into()))
        })
        .await
    }

    /// Counts a refresh. With `rotation`, it also gives the session this new refresh token. Refused if the session has
    /// ended, was rotated, has reached its limit or has begun a new window since it was read.
    async fn count_refresh(
        &self,
        token: VerifiedToken,
        session: &StoredSession,
        counting: Counting,
        rotation: Option<TokenId>,
        now: UnixMillis,
    ) -> Result<Updated, DbError> {
        let mut change = format!("SET {}", counting.change);
        let mut values = counting.values;
        values.push((":current", id(session.refresh_id.0)));
        values.push((":version", number(session.version.into())));
        if let Some(successor) = rotation {
            change += ", refresh_id = :successor, previous_refresh_id = :current, refreshed_at = :refreshed_at";
            values.push((":successor", id(successor.0)));
            // A stored time never moves back, whichever function's clock wrote it.
            values.push((":refreshed_at", number(now.max(session.refreshed_at).0)));
        }
        let condition = format!("refresh_id = :current AND version = :version AND {}", counting.condition);
        let key = session_key(token.user_id, token.session_id);
        self.0.update(Update { key: &key, change: &change, condition: &condition, values }).await
    }

    /// The live sessions of a user. The one that was used last comes first.
    pub(super) async fn list(&self, user: UserId, now: UnixMillis) -> Result<Vec<ListedSession>, DbError> {
        let items = within(self.0.query(&partition(user))).await?;
        Ok(PartitionContent::of(&items, now).live.into_iter().map(StoredSession::listed).collect())
    }

    /// Ends a session of a user.
    pub(super) async fn end(&self, user: UserId, session: SessionId, now: UnixMillis) -> Result<Ended, DbError> {
        let (account, session) = (account_key(user), session_key(user, session));
        let (deleted, account) =
            within(async { tokio::try_join!(self.0.delete(&session), self.0.get_one(&account)) }).await?;
        let is_live = |session: StoredSession| session.is_live(AccountItem::read(account.as_ref()), now);
        let was_live = match &deleted {
            Deleted::Item(item) => StoredSession::read(item).is_some_and(is_live),
            Deleted::Perhaps => true,
            Deleted::Nothing => false,
        };
        Ok(if was_live { Ended::Now } else { Ended::Before })
    }

    /// Ends the live sessions of a user except `kept`, and returns their number. `None` if `kept` has ended. Then no session ends.
    pub(super) async fn end_others(
        &self,
        user: UserId,
        kept: SessionId,
        now: UnixMillis,
    ) -> Result<Option<i64>, DbError> {
        let partition = partition(user);
        within(async {
            let live = PartitionContent::of(&self.0.query(&partition).await?, now).live;
            if !live.iter().any(|session| session.id == kept) {
                return Ok(None);
            }
            let others: Vec<_> = live.into_iter().map(|session| session.id).filter(|id| *id != kept).collect();
            let deletions = others.into_iter().map(|id| async move { self.0.delete(&session_key(user, id)).await });
            let deleted: Vec<_> = stream::iter(deletions).buffer_unordered(DELETIONS).try_collect().await?;
            let ended = deleted.iter().filter(|deleted| !matches!(deleted, Deleted::Nothing)).count();
            Ok(Some(i64::try_from(ended).unwrap_or(i64::MAX)))
        })
        .await
    }

    /// Raises the account's minimum version, which ends every session of a lower version. Does nothing if it is already this high or higher. Takes
    /// back the expiry that [`Self::erase`] sets, because an account whose version rises was not erased.
    pub(crate) async fn raise_minimum_version(&self, user: UserId, version: i32) -> Result<(), DbError> {
        let key = account_key(user);
        let raise = self.0.update(Update {
            key: &key,
            change: "SET minimum_version = :version REMOVE expires_at",
            condition: "attribute_not_exists(minimum_version) OR minimum_version < :version",
            values: vec![(":version", number(version.into()))],
        });
        within(raise).await.map(drop)
    }

    /// Ends every session of a user who is erased, and deletes the user's items. Only the minimum version stays until `expires_at`, so that no
    /// session is live that a late request stores. If this fails, some items may be deleted.
    pub(super) async fn erase(&self, user: UserId, version: i32, expires_at: UnixTime) -> Result<(), DbError> {
        let (key, partition) = (account_key(user), partition(user));
        within(async {
            let ended = self.0.update(Update {
                key: &key,
                change: "SET minimum_version = :version, expires_at = :expires_at REMOVE verified_version",
                condition: "attribute_not_exists(minimum_version) OR minimum_version <= :version",
                values: vec![(":version", number(version.into())), (":expires_at", number(expires_at.0))],
            });
            ended.await?;
            let items = self.0.query(&partition).await?;
            let others = items.iter().filter_map(|item| item.text("sk")).filter(|sort| *sort != key.sort);
            let delete = async |sort: &str| {
                let item = Key { partition: partition.clone(), sort: sort.to_owned() };
                self.0.delete(&item).await.map(drop)
            };
            stream::iter(others).map(Ok).try_for_each_concurrent(DELETIONS, delete).await
        })
        .await
    }

    /// Records that the address of an account is verified, for all its sessions of this credential version.
    pub(super) async fn set_verified(&self, user: UserId, version: i32) -> Result<(), DbError> {
        let key = account_key(user);
        let verify = self.0.update(Update {
            key: &key,
            change: "SET verified_version = :version",
            condition: "attribute_not_exists(verified_version) OR verified_version < :version",
            values: vec![(":version", number(version.into()))],
        });
        within(verify).await.map(drop)
    }

    async fn account_and_session(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<(AccountItem, Option<StoredSession>), DbError> {
        let found = self.0.get(&[account_key(user), session_key(user, session)]).await?;
        Ok((AccountItem::read(found[0].as_ref()), found[1].as_ref().and_then(StoredSession::read)))
    }
}

fn malformed() -> DbError {
    DbError::Failed("a session of the state table is malformed".into())
}
