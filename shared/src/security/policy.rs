//! The numbers of the security policy, each with its reason. Where an environment variable can set a number, this is the default.

use std::time::Duration;

/// Minimum number of characters of a new password. NIST SP 800-63B-4 §3.1.1.2: 15 where the password is the only factor.
pub const PASSWORD_MIN_LENGTH: usize = 15;
/// The lowest value that `PASSWORD_MIN_LENGTH` may be set to. OWASP ASVS 6.2.1: eight.
pub const PASSWORD_MIN_LENGTH_LOWEST: usize = 8;
/// Maximum number of characters of a new password. NIST and ASVS 6.2.9 require that at least 64 are allowed. Twice as many suffice for every
/// passphrase.
pub const PASSWORD_MAX_LENGTH: usize = 128;
/// Maximum number of bytes of a password at sign-in. Passwords of the old service may be longer than [`PASSWORD_MAX_LENGTH`], but nobody types more
/// bytes than this.
pub const PASSWORD_MAX_TRIED_BYTES: usize = 4096;
/// A password that contains this many characters in a row of the account's name or address is refused, because it can be guessed (ASVS 6.2.11).
/// With three characters, very many good passwords would be refused.
pub const PASSWORD_CONTEXT_LENGTH: usize = 4;
/// Public mail services, by the first label of their domains. Anybody can have an address there, so a password that contains such a name is not
/// easier to guess.
pub const PUBLIC_MAIL_SERVICES: [&str; 32] = [
    "aol",
    "comcast",
    "fastmail",
    "free",
    "freenet",
    "gmail",
    "gmx",
    "googlemail",
    "hey",
    "hotmail",
    "icloud",
    "laposte",
    "libero",
    "live",
    "mail",
    "me",
    "msn",
    "naver",
    "orange",
    "outlook",
    "pm",
    "proton",
    "protonmail",
    "qq",
    "sfr",
    "t-online",
    "tuta",
    "tutanota",
    "web",
    "yahoo",
    "yandex",
    "zoho",
];

/// Memory of argon2id in KiB. With the passes and lanes below, it is the minimum configuration of OWASP's Password Storage cheat sheet. A Lambda
/// function has about one processor, so a second lane would only take more time.
pub const ARGON2_MEMORY_KIB: u32 = 19_456;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_PASSES: u32 = 2;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_LANES: u32 = 1;
/// Bytes of a password's salt. RFC 9106 §3.1 recommends 16, and NIST requires at least 4.
pub const SALT_BYTES: usize = 16;

/// Maximum memory in KiB, passes and lanes of a stored argon2 hash. A hash with more is not checked, so that a manipulated row cannot keep a
/// function busy for minutes. OWASP's largest choice has 47104 KiB.
pub const ARGON2_MAX: (u32, u32, u32) = (65_536, 10, 4);
/// Maximum number of rounds of a stored PBKDF2 hash. Werkzeug 3 uses 1,000,000.
pub const PBKDF2_MAX_ROUNDS: u32 = 2_000_000;
/// Maximum log2 N, r and p of a stored scrypt hash. Werkzeug 3 uses 15, 8 and 1, which need 32 MiB.
pub const SCRYPT_MAX: (u8, u32, u32) = (16, 8, 4);

/// Minimum number of bytes of the secret that signs tokens. RFC 7518 §3.2: as long as the hash.
pub const MIN_SECRET_BYTES: usize = 32;
/// Minimum number of bytes of an RSA modulus. RFC 7518 §3.3: 2048 bits.
pub const MIN_RSA_BYTES: usize = 256;
/// Lifetime of an access token. A logout takes effect before that, because a token is valid only while its session is live.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// Lifetime of a session, from sign-in. A refresh does not extend it. NIST SP 800-63B-4 §2.1.3 allows 30 days.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// How long a client may use the previous refresh token again, if nobody has used its successor. A client needs this if it lost an answer. It is
/// long enough for a retry and too short for most thieves. RFC 9700 §4.14.2 has no such grace. See docs/security.md.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);
/// How long other services may cache the public keys. API Gateway caches them for up to two hours, whatever this value is.
pub const PUBLIC_KEYS_CACHED: Duration = Duration::from_mins(5);
/// How long after a user has proved the password or a second factor a session may do sensitive actions, such as changing the address (OWASP ASVS
/// 7.5.1). A refresh does not extend it. The challenge of RFC 9470 names it as `max_age`.
pub const AUTHENTICATION_AGE: Duration = Duration::from_mins(10);
/// How far the clock of the issuer of a token may be ahead of the clock that checks `iat` and `nbf`. There is no tolerance for `exp`.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Bytes of the token in a link. OWASP ASVS 11.5.1 requires 128 bits, and twice as many cost nothing.
pub const LINK_TOKEN_BYTES: usize = 32;
/// Lifetime of a reset token. It is enough time to find the mail.
pub const RESET_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// Lifetime of the link that verifies an address. It asks for the password, so it does not have to be short.
pub const VERIFICATION_LINK_LIFETIME: Duration = Duration::from_hours(24);
/// Digits of the code that verifies an address. OWASP ASVS 6.6.3 requires 20 bits of entropy, and eight digits have 26.
pub const EMAIL_CODE_DIGITS: usize = 8;
/// Lifetime of the code that verifies an address (OWASP ASVS 6.5.5).
pub const EMAIL_CODE_LIFETIME: Duration = Duration::from_mins(10);
/// How many codes may be tried for one mail (OWASP ASVS 6.6.3). So five guesses together succeed with a probability of one in 20
/// million.
pub const EMAIL_CODE_TRIES: i32 = 5;
/// How long a used link or code is kept. It is longer than a request takes, so that a statement that runs again recognises what its first run did.
pub const USED_PROOF_KEPT: Duration = Duration::from_mins(1);
/// Lifetime of a requested change of the address. It is enough time to find the mail.
pub const EMAIL_CHANGE_LIFETIME: Duration = Duration::from_hours(1);
/// How long a change of the address can be undone. It is enough for a weekend without mails.
pub const EMAIL_UNDO_LIFETIME: Duration = Duration::from_hours(72);
/// How long the user of a deleted account can keep it. It is enough for a week's holiday, and much less than the month within which the GDPR (Article
/// 12) requires an erasure.
pub const ACCOUNT_ERASE_AFTER: Duration = Duration::from_hours(7 * 24);
/// How long an erasure that is due waits for the mail that announces it.
pub const ERASURE_WAITS_FOR_MAIL: Duration = Duration::from_hours(24);
/// How long the statement that keeps an account recognises its own earlier run. A statement runs again within [`DATABASE_DEADLINE`].
pub const KEPT_MARK_LIFETIME: Duration = Duration::from_mins(1);
/// How long an address stays claimed after a statement has given it to an account. It is longer than a statement takes. So a statement that began
/// before that one ended sees the claim, although it does not see the account.
pub const ADDRESS_CLAIM: Duration = Duration::from_secs(10);
/// The minimum duration of an answer of forgot-password, if the attempt was counted, of an answer to a request to change the address, and with
/// `SIGNUP_TELLS=off` of an answer to a sign-up. SES usually needs less, so the time reveals nothing.
pub const FORGOT_PASSWORD_MINIMUM_DURATION: Duration = Duration::from_secs(1);
/// An attempt to send a mail, including the deletion of the sent mail from the outbox, must end this long before the minimum duration ends.
/// Cancelling a slow deletion takes up to [`DATABASE_CANCEL`] more.
pub const MINIMUM_DURATION_MARGIN: Duration = Duration::from_millis(300);

/// Digits of a code of an authenticator app. RFC 4226 §5.3 requires at least six, and some apps show no other number.
pub const TOTP_DIGITS: u32 = 6;
/// How long a code of an authenticator app is current (RFC 6238 §5.2).
pub const TOTP_STEP: Duration = Duration::from_secs(30);
/// Bytes of an authenticator's secret. RFC 4226 §4, R6 recommends 160 bits.
pub const TOTP_SECRET_BYTES: usize = 20;
/// How long an enrolment may take. It is enough time to install an app.
pub const TOTP_ENROLMENT_LIFETIME: Duration = Duration::from_mins(10);
/// How many codes may be tried for one enrolment. So ten guesses, of which three codes in a million are right, succeed with a probability of one in
/// 30,000.
pub const TOTP_ENROLMENT_TRIES: i32 = 10;
/// The number of recovery codes that an account gets.
pub const RECOVERY_CODES: usize = 10;
/// Bytes of a recovery code. OWASP ASVS 6.5.2 allows a fast hash from 112 bits on.
pub const RECOVERY_CODE_BYTES: usize = 15;
/// Characters in a group of a recovery code. A group of four is easy to copy.
pub const RECOVERY_CODE_GROUP: usize = 4;
/// If at most this many codes are left, the answer to a sign-in with a recovery code says how many.
pub const FEW_RECOVERY_CODES: i64 = 2;
/// How long a sign-in waits for the second factor.
pub const MFA_TOKEN_LIFETIME: Duration = Duration::from_mins(5);
/// How many factors may be tried in one sign-in.
pub const MFA_TOKEN_TRIES: i32 = 5;
/// How long the link in a notice removes a new factor. It is enough for a weekend without mails.
pub const FACTOR_UNDO_LIFETIME: Duration = Duration::from_hours(72);
/// Wrong codes for one account from one source, in a row. The wait begins with the last of them. An attacker at one source guesses one of a million
/// codes, of which three are right, at most 960 times a day.
pub const WRONG_CODES_OF_SOURCE: Limit = Limit { attempts: 10, window: Duration::from_mins(15) };
/// Wrong codes for one account in a row, from all sources together. NIST SP 800-63B-4 §3.2.2: at most 100. After that, codes of an authenticator are
/// accepted only from sources where the account has a live session.
pub const WRONG_CODES_OF_ACCOUNT: i32 = 100;
/// By how much each wrong code extends the life of the account's counter, as at [`SIGNIN_MEMORY_OF_ACCOUNT`].
pub const WRONG_CODES_MEMORY_OF_ACCOUNT: Duration = SIGNIN_MEMORY_OF_ACCOUNT;
/// After this number of wrong codes in a row, a mail tells the user that somebody knows the password (OWASP ASVS 6.3.5).
pub const WRONG_CODES_BEFORE_MAIL: i32 = 5;
/// How many of these warnings one account gets. One a day suffices.
pub const WRONG_CODE_MAILS_OF_ACCOUNT: Limit = Limit { attempts: 1, window: Duration::from_hours(24) };

/// Bytes of the handle by which authenticators know an account. WebAuthn §14.6.1 allows up to 64 random bytes. Half of
/// them cannot be guessed either.
pub const USER_HANDLE_BYTES: usize = 32;
/// How long a challenge for a passkey is valid. It is also the timeout of the options, for which `WebAuthn` recommends five to ten minutes.
pub const CHALLENGE_LIFETIME: Duration = Duration::from_mins(5);
/// How long a used challenge is kept. It is longer than the challenge is valid, even if the clocks of functions and PostgreSQL differ.
pub const USED_CHALLENGE_KEPT: Duration = Duration::from_mins(10);
/// Maximum number of passkeys of an account.
pub const PASSKEYS_OF_ACCOUNT: i64 = 10;
/// The number of transports that are stored for a passkey, and the length of their names. The standard defines six, of up to ten characters.
pub const TRANSPORTS: usize = 8;
/// See [`TRANSPORTS`].
pub const TRANSPORT_LENGTH: usize = 16;
/// Notices to one account that a passkey was rejected because of its signature counter. One a day suffices.
pub const COPIED_PASSKEY_MAILS_OF_ACCOUNT: Limit = Limit { attempts: 1, window: Duration::from_hours(24) };

/// Maximum number of bytes of a request body. The longest accepted password has 4096 bytes, and JSON escapes can make it longer. The limit is
/// low because a body is read before the attempt is counted.
pub const BODY_MAX_BYTES: usize = 16 * 1024;

/// A number of attempts within a period, which begins with the first attempt.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The number of allowed attempts.
    pub attempts: i32,
    /// The period.
    pub window: Duration,
}

/// The number of failed sign-ins to one account from one source after which the source has to wait. It allows for typing errors.
pub const SIGNIN_FAILURES: i32 = 5;
/// The first wait. It doubles with each further failure. OWASP ASVS 6.3.1; NIST SP 800-63B-4 §3.2.2 suggests 30 s to an hour.
pub const SIGNIN_FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait. It allows an attacker 96 guesses a day, and a user who mistyped the password can wait for it.
pub const SIGNIN_LONGEST_WAIT: Duration = Duration::from_mins(15);
/// The wait after this number of failures in a row. `None` if there are fewer than [`SIGNIN_FAILURES`].
#[must_use]
pub fn signin_wait(failures: i32) -> Option<Duration> {
    let doublings = u32::try_from(failures - SIGNIN_FAILURES).ok()?;
    let wait = SIGNIN_FIRST_WAIT.checked_mul(2_u32.saturating_pow(doublings)).unwrap_or(SIGNIN_LONGEST_WAIT);
    Some(wait.min(SIGNIN_LONGEST_WAIT))
}
/// How long the failures of one account from one source are kept after the last one. The tenth failure causes the longest wait. An attacker who
/// avoids it, and pauses after nine guesses until the failures are deleted, has nine guesses in six hours. An attacker who waits after each failure
/// has about 24 guesses in that time. The failures are not kept longer, because anybody can create such a counter for any address.
pub const SIGNIN_MEMORY: Duration = Duration::from_hours(6);
/// Failed sign-ins from one source, at all accounts together. Credential stuffing exceeds it, an office with one address does not.
pub const SIGNIN_FAILURES_OF_SOURCE: Limit = Limit { attempts: 100, window: Duration::from_mins(15) };
/// In DynamoDB, the failures of one source are counted in this number of items, because one item takes at most 1,000 writes a second. Each item has
/// an equal part of the limit.
pub const ITEMS_OF_SOURCE: u8 = 4;
/// Failed sign-ins in a row to one account, from all sources together. NIST SP 800-63B-4 §3.2.2: at most 100. After that, only sources where the
/// account has a live session may try, until a sign-in or a reset succeeds, or the counter expires.
pub const SIGNIN_FAILURES_OF_ACCOUNT: i32 = 100;
/// By how much each failure extends the life of an account's counter. A hundred failures at the same time keep the counter full for 30 days. So an
/// attacker has a hundred guesses a month, whether the guesses are fast or slow. The counter of a single failure at an unknown address is kept only
/// for some hours.
pub const SIGNIN_MEMORY_OF_ACCOUNT: Duration = Duration::from_mins(30 * 24 * 60 / 100);
/// Wrong passwords in a row in one session, from all sources together (NIST SP 800-63B-4 §3.2.2: at most 100). The period is as long as a session
/// lives by default. So a stolen session gives at most 100 guesses, and only this session is stopped.
pub const PROOF_FAILURES_OF_SESSION: Limit = Limit { attempts: 100, window: SESSION_LIFETIME };
/// New passwords of one account. A user changes the password rarely, and each change costs the hashing of a password.
pub const NEW_PASSWORDS_OF_ACCOUNT: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// The number of characters of a User-Agent header that are stored. Those of browsers have up to 200.
pub const USER_AGENT_LENGTH: usize = 256;
/// Maximum number of live sessions of an account. A user has a few devices. A program that signs in for every call would have thousands.
pub const SESSIONS_OF_ACCOUNT: i64 = 50;
/// Maximum number of sessions that are deleted in PostgreSQL when one is opened. One would suffice, except after concurrent sign-ins, and for
/// accounts that got more sessions from a version without a limit.
pub const SESSIONS_EVICTED: i64 = 1_000;
/// New accounts from one source. It allows a class of students to sign up.
pub const SIGNUPS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Requests for a reset mail from one source.
pub const FORGOTTEN_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Reset mails to one mailbox. More would be a nuisance for its owner. Addresses with a `+` that differ only after it share one counter. The address without
/// a `+` has its own.
pub const RESET_MAILS_OF_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Verification mails to one mailbox, including the one of the sign-up. Addresses that differ only after a `+` are one mailbox. A user who finds no
/// mail asks for another one once or twice. More would be a nuisance for a mailbox's owner who has not signed up.
pub const VERIFICATION_MAILS_OF_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Notices to one mailbox that somebody tried to sign up with its address.
pub const SIGN_UP_NOTICES_OF_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Mails of one kind to one mailbox that nobody has proved: that the password was changed, that a change of the address was requested, or that the
/// account was deleted. Somebody who signs up with other people's addresses could otherwise send them such mails.
pub const ACCOUNT_MAILS_TO_UNPROVED_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Mails to mailboxes that nobody has proved, from all sources together: those of sign-ups and changes of the address. SES stops a sender with too
/// many bounces. So nobody may use this service to send mail to many addresses that do not exist.
pub const MAILS_PER_HOUR: i32 = 1_000;
/// How many of the mails that [`MAILS_PER_HOUR`] limits one source may cause. It is lower than [`SIGNUPS_OF_SOURCE`], because a user behind a
/// shared address can ask for the mail later.
pub const MAILS_OF_SOURCE: i32 = 20;
/// The window of [`MAILS_PER_HOUR`] and [`MAILS_OF_SOURCE`].
pub const MAIL_BUDGET_WINDOW: Duration = Duration::from_hours(1);
/// Requests of one account to change the address. Each causes a mail to the account and one to another mailbox.
pub const EMAIL_CHANGES_OF_ACCOUNT: Limit = Limit { attempts: 5, window: Duration::from_hours(1) };
/// Requests to change an address to one in this mailbox, from all accounts. More would be a nuisance for the mailbox's owner. Addresses that differ
/// only after a `+` are one mailbox.
pub const EMAIL_CHANGES_TO_MAILBOX: Limit = Limit { attempts: 3, window: Duration::from_hours(1) };
/// Links that are not valid, from one source. Nobody can guess 256 bits. The limit keeps a program from sending requests in a loop.
pub const INVALID_LINKS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Attempts to use a reset token from one source. Nobody can guess 256 bits. The limit exists because each attempt may need the hashing of a
/// password.
pub const RESETS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Attempts to use a token that keeps an account from one source. Nobody can guess 256 bits. The limit exists because each attempt costs a statement.
pub const KEEPS_OF_SOURCE: Limit = Limit { attempts: 60, window: Duration::from_hours(1) };
/// Refreshes of one session. A page may send fifty at the same time, but a program must not refresh in a loop.
pub const REFRESHES_OF_SESSION: Limit = Limit { attempts: 60, window: Duration::from_mins(1) };

/// Maximum time of all calls that an endpoint makes to other services. Cancelling a statement adds at most a quarter of a second. So a refresh is
/// answered within 4 seconds, and a client that lost the answer still has half of [`REFRESH_GRACE`] for a retry.
pub const REQUEST_BUDGET: Duration = Duration::from_millis(3_500);
/// Maximum time of `sweep`. It runs every minute.
pub const SWEEP_BUDGET: Duration = Duration::from_secs(50);
/// An invocation ends by itself this long before Lambda's timeout. The remaining time is computed from whole seconds, so it can be almost a second
/// too long.
pub const LAMBDA_MARGIN: Duration = Duration::from_secs(1);
/// The longest timeout that Lambda allows.
pub const LAMBDA_LONGEST: Duration = Duration::from_mins(15);
/// Maximum time to connect to PostgreSQL.
pub const DATABASE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time until PostgreSQL's machine acknowledges a packet (`tcp_user_timeout`). The network drops connections that were idle while Lambda
/// froze the process (on AWS after 350 seconds), without a notice. A statement on such a connection runs again on a new one.
pub const DATABASE_ACKNOWLEDGED: Duration = Duration::from_secs(1);
/// Maximum time of one statement, with its connection and its retries. A statement that a query of [`crate::db`] runs once more has this time again.
pub const DATABASE_DEADLINE: Duration = Duration::from_secs(3);
/// Pauses between the tries of a statement. They double, and each is random and up to a half shorter.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

/// After a conflict with another transaction (SQLSTATE 40001, 40P01). A statement takes a millisecond or two, so the other transaction has usually
/// ended after the first pause.
pub const CONFLICT_PAUSES: Pauses = Pauses { first: Duration::from_millis(4), longest: Duration::from_millis(128) };
/// While PostgreSQL has no free connection. Each try costs PostgreSQL a process and, with IAM, a login. So the pauses are longer.
pub const CONNECTION_PAUSES: Pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
/// How long a request with a result waits for PostgreSQL to prepare the statement for later requests. A lock may delay this.
pub const DATABASE_PREPARE: Duration = Duration::from_millis(20);
/// Maximum time to cancel a statement.
pub const DATABASE_CANCEL: Duration = Duration::from_millis(250);
/// Maximum time of one operation on sessions or counters in DynamoDB, with all its calls and retries. A sign-in has three such operations.
pub const STATE_DEADLINE: Duration = Duration::from_secs(2);
/// By how much the clocks of a function and of DynamoDB may differ. The function's clock decides when a session in DynamoDB expires, and when the
/// grace of a refresh token ends.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);
/// Maximum time of one call to DynamoDB, with its connection. DynamoDB usually answers in a few milliseconds.
pub const STATE_ATTEMPT: Duration = Duration::from_secs(1);
/// The time after which `sweep` first tries to send a mail that a request could not send. It is longer than a request takes, so that `sweep` and the
/// request never send the mail at the same time. After its first attempt, `sweep` waits as long again. The later waits double, and each is up to a
/// quarter shorter or longer.
pub const MAIL_FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait between two attempts. When SES throttles, it asks to wait up to ten minutes.
pub const MAIL_LONGEST_RETRY: Duration = Duration::from_mins(10);
/// How long `sweep` tries to send notices and the mail about a deletion. It tries to send other mails with a link until the link expires.
pub const NOTICE_LIFETIME: Duration = Duration::from_hours(3 * 24);
/// The number of expired rows that one statement deletes. It takes about 10 ms.
pub const SWEEP_BATCH: i64 = 1_000;
/// How long the table `session_endings` keeps a change of credentials while sessions are in PostgreSQL. So `sweep` can end sessions that were opened
/// in DynamoDB during a move to a table. A move takes less time, even if it fails.
pub const MOVE_OF_SESSIONS: Duration = Duration::from_hours(24);
/// After this many failures of a store, an invocation of `sweep` leaves the other users' sessions, or the other erasures, to the next invocation.
pub const SWEEP_FAILURES: usize = 3;
/// The part of its time that `sweep` reserves for everything except ending sessions and sending mails.
pub const SWEEP_RESERVE: Duration = Duration::from_secs(15);
/// The part of [`SWEEP_RESERVE`] that remains after erasing accounts.
pub const SWEEP_RESERVE_AFTER_ERASURES: Duration = Duration::from_secs(8);

/// The time at the end of an attempt to send a mail. It is reserved for deleting the mail from the outbox.
pub const MAIL_SETTLING: Duration = Duration::from_millis(100);
/// Maximum time of an attempt to send a mail, where no minimum duration limits it. If SES needs longer, `sweep` sends the mail again.
pub const MAIL_DEADLINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_from_thirty_seconds_to_a_quarter_of_an_hour() {
        let waits = (0..12).map(|failures| signin_wait(failures).map_or(0, |wait| wait.as_secs())).collect::<Vec<_>>();
        assert_eq!(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(signin_wait(i32::MAX), Some(SIGNIN_LONGEST_WAIT));
    }

    #[proptest::property_test]
    fn a_further_failure_never_makes_a_wait_shorter(#[strategy = 0..i32::MAX] failures: i32) {
        let (wait, next) = (signin_wait(failures), signin_wait(failures + 1));
        assert!(wait <= next && next <= Some(SIGNIN_LONGEST_WAIT));
        assert_eq!(wait.is_none(), failures < SIGNIN_FAILURES);
    }
}
