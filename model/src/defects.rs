//! Defects of the protocol. The model can have one of them. The tests check that the model then finds a history that breaks a promise.

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// A reset raises the minimum version in DynamoDB before PostgreSQL commits the new version, and writes no row into
    /// `session_endings`.
    EndsBeforeCommit,
    /// A refresh token that was used once is theft, even a moment later.
    RetryIsTheft,
    /// A change of the password does not void the reset link.
    ResetLinkIsUnbound,
    /// A change of credentials owes no ending of the sessions in DynamoDB.
    NothingIsOwed,
    /// An old refresh token gets the current one, however late it is presented.
    OldTokensServe,
    /// A refresh in DynamoDB does not require that the session is still as it was read.
    RotatesUnconditionally,
    /// A refresh in DynamoDB creates the session if it was deleted.
    UpdatesCreateItems,
    /// A reset does not raise the credential version.
    ResetKeepsSessions,
    /// The earlier address of an account is free at once.
    NothingIsReserved,
    /// A used reset link stays valid.
    LinkServesTwice,
    /// Wrong passwords close an account to everybody, even to a user who is signed in at home.
    FailuresCloseTheAccount,
    /// An erasure does not raise the minimum version in DynamoDB.
    ErasesWithoutEnding,
    /// A sign-in does not ask for the second factor of the account.
    SignInSkipsFactors,
    /// The removal of a factor does not raise the credential version.
    RemovalKeepsVersion,
    /// The link in the notice about a new factor removes only this factor.
    UndoRemovesOneFactor,
}
