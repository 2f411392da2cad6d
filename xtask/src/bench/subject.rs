//! The programs that are measured.

/// How a program gets its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Any request. The answer is not checked, except that it is one.
    Bare,
    /// A request without a token.
    Open,
    /// A request with a valid access token.
    Protected,
    /// A request with the newest refresh token of a session.
    Refresh,
    /// A request with the right password.
    SignIn,
    /// A question of API Gateway about a valid access token.
    Authorize,
}

/// A program with its store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The name of the function, or of the program in `limits/examples/`.
    pub program: &'static str,
    pub work: Work,
    /// Whether sessions and counters are in DynamoDB.
    pub with_table: bool,
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

    /// A name that no other subject has, of characters that an address may have.
    pub fn name(self) -> String {
        format!("{}{}", self.program, if self.with_table { "-with-table" } else { "" })
    }
}

const fn without_table(program: &'static str, work: Work) -> Subject {
    Subject { program, work, with_table: false }
}

const fn with_table(program: &'static str, work: Work) -> Subject {
    Subject { program, work, with_table: true }
}

/// Each bare program, followed by the functions that are compared with it.
const GROUPS: [&[Subject]; 4] = [
    &[without_table("hello", Work::Bare), without_table("welcome", Work::Open), without_table("public", Work::Open)],
    &[without_table("select", Work::Bare), without_table("dashboard", Work::Protected)],
    &[without_table("update", Work::Bare), without_table("refresh", Work::Refresh)],
    &[without_table("hash", Work::Bare), without_table("signin", Work::SignIn)],
];

/// The same with sessions and counters in DynamoDB.
const GROUPS_WITH_TABLE: [&[Subject]; 2] = [
    &[
        with_table("get-items", Work::Bare),
        with_table("authorizer", Work::Authorize),
        with_table("dashboard", Work::Protected),
        with_table("refresh", Work::Refresh),
    ],
    &[with_table("hash", Work::Bare), with_table("signin", Work::SignIn)],
];

/// All programs. Each bare program comes before the functions that are compared with it.
pub fn all(with_table: bool) -> Vec<Subject> {
    let more = if with_table { &GROUPS_WITH_TABLE[..] } else { &[] };
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
        assert!(!super::all(false).iter().any(|subject| subject.with_table));
    }
}
