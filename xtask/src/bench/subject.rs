//! The programs that are measured.

/// How a program gets its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Any request, because a bare program ignores its content.
    Bare,
    /// A request without a token.
    Open,
    /// A request with a valid access token.
    Protected,
    /// A request with the newest refresh token of a session.
    Refresh,
    /// A request with the right password.
    SignIn,
    /// A request with an assertion of a passkey.
    Passkey,
    /// A request of API Gateway to the authorizer, with a valid access token.
    Authorize,
}

/// Where sessions and counters are, and whether the connection to PostgreSQL is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Sessions and counters are in PostgreSQL. The connection is not encrypted.
    Plain,
    /// The same with an encrypted connection.
    Tls,
    /// Sessions and counters are in DynamoDB.
    StateTable,
    /// The token of the request is invalid, so the function refuses it before it connects to the database.
    Unconnected,
}

/// A program with its setup.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The name of the function, or of the program in `limits/examples/`.
    pub program: &'static str,
    pub work: Work,
    pub setup: Setup,
}

impl Subject {
    /// Whether it is one of the bare programs.
    pub fn is_bare(self) -> bool {
        self.work == Work::Bare
    }

    /// The path of its program, below the folder of the build.
    pub fn binary(self) -> String {
        format!("{}{}", if self.is_bare() { "examples/" } else { "" }, self.program)
    }

    /// A name that no other subject has. It is a part of a URL, so it contains only characters that are allowed there.
    pub fn name(self) -> String {
        let setup = match self.setup {
            Setup::Plain => "",
            Setup::Tls => "-tls",
            Setup::StateTable => "-state-table",
            Setup::Unconnected => "-unconnected",
        };
        format!("{}{setup}", self.program)
    }
}

const fn subject(program: &'static str, work: Work, setup: Setup) -> Subject {
    Subject { program, work, setup }
}

/// Each bare program, followed by the functions that are compared with it.
const GROUPS: [&[Subject]; 5] = [
    &[
        subject("hello", Work::Bare, Setup::Plain),
        subject("welcome", Work::Open, Setup::Plain),
        subject("public", Work::Open, Setup::Plain),
        subject("dashboard", Work::Protected, Setup::Unconnected),
    ],
    &[
        subject("select", Work::Bare, Setup::Plain),
        subject("dashboard", Work::Protected, Setup::Plain),
        subject("signin-passkey", Work::Passkey, Setup::Plain),
    ],
    &[subject("select", Work::Bare, Setup::Tls), subject("dashboard", Work::Protected, Setup::Tls)],
    &[subject("update", Work::Bare, Setup::Plain), subject("refresh", Work::Refresh, Setup::Plain)],
    &[subject("hash", Work::Bare, Setup::Plain), subject("signin", Work::SignIn, Setup::Plain)],
];

/// The same with sessions and counters in DynamoDB.
const GROUPS_WITH_TABLE: [&[Subject]; 2] = [
    &[
        subject("get-items", Work::Bare, Setup::StateTable),
        subject("authorizer", Work::Authorize, Setup::StateTable),
        subject("dashboard", Work::Protected, Setup::StateTable),
        subject("refresh", Work::Refresh, Setup::StateTable),
        subject("signin-passkey", Work::Passkey, Setup::StateTable),
    ],
    &[subject("hash", Work::Bare, Setup::StateTable), subject("signin", Work::SignIn, Setup::StateTable)],
];

/// All programs. Each bare program comes before the functions that are compared with it.
pub fn all(state_table: bool) -> Vec<Subject> {
    let more = if state_table { &GROUPS_WITH_TABLE[..] } else { &[] };
    GROUPS.iter().chain(more).flat_map(|group| group.iter().copied()).collect()
}

/// The groups of these programs. Each begins with its bare program.
pub fn groups(subjects: &[Subject]) -> impl Iterator<Item = &[Subject]> {
    subjects.chunk_by(|_, next| !next.is_bare())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_group_begins_with_its_only_bare_program_and_no_name_occurs_twice() {
        let all = all(true);
        for group in groups(&all) {
            assert!(group.len() > 1 && group[0].is_bare() && !group[1..].iter().any(|subject| subject.is_bare()));
        }
        assert_eq!(all.iter().map(|subject| subject.name()).collect::<BTreeSet<_>>().len(), all.len());
        assert!(!super::all(false).iter().any(|subject| subject.setup == Setup::StateTable));
    }
}
