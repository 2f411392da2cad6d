//! The alias `live` of each function. Requests go to the version that it points to. Its description records the deployment that moved it
//! and the version it pointed to before, so a deployment needs no other storage.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// An alias `live`, as Lambda returns it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alias {
    /// The version that it points to.
    pub function_version: String,
    /// The text of a [`Move`], unless somebody else wrote it.
    pub description: String,
}

/// The alias `live` of each function that has one, by the function's name.
pub type Aliases = BTreeMap<String, Alias>;

impl Alias {
    /// The version that a rollback would restore.
    pub fn version_before(&self) -> Option<String> {
        Move::parse(&self.description).map(|last| last.before)
    }
}

/// What a deployment did to an alias.
#[derive(Debug, PartialEq)]
pub struct Move {
    /// The number of the deployment. Rollbacks count as deployments.
    pub deployment: u32,
    /// A fingerprint of what was deployed. If a deployment was killed half-way and is repeated, the same fingerprint shows this. After a rollback and
    /// after a rollback of this rollback, it is `back from` with the fingerprint of the deployment that was rolled back first.
    pub build: String,
    /// The version that the alias pointed to before.
    pub before: String,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deployment {} of {}, before: {}", self.deployment, self.build, self.before)
    }
}

impl Move {
    /// Reads the text that its `Display` writes.
    fn parse(description: &str) -> Option<Self> {
        let (deployment, rest) = description.strip_prefix("deployment ")?.split_once(" of ")?;
        let (build, before) = rest.split_once(", before: ")?;
        Some(Self { deployment: deployment.parse().ok()?, build: build.to_owned(), before: before.to_owned() })
    }

    /// The move that undoes this one. `live` is the version that the alias points to now.
    pub fn undone(&self, live: &str) -> Self {
        Self {
            deployment: self.deployment + 1,
            build: format!("back from {}", self.build.trim_start_matches("back from ")),
            before: live.to_owned(),
        }
    }
}

/// The number of a deployment of this build: the newest deployment's number if that deployed the same build, else the next number.
pub fn deployment_number(aliases: &Aliases, build: &str) -> u32 {
    moves_of_newest_deployment(aliases)
        .first()
        .map_or(1, |(_, newest)| newest.deployment + u32::from(newest.build != build))
}

/// The functions whose alias the newest deployment moved, with these moves. Moves of older deployments are left out.
fn moves_of_newest_deployment(aliases: &Aliases) -> Vec<(String, Move)> {
    let moves = || moves(aliases);
    let newest = moves().map(|(_, last)| last.deployment).max();
    moves().filter(|(_, last)| Some(last.deployment) == newest).collect()
}

/// The moves that the next rollback undoes: those of the newest deployment. If this was a rollback that stopped half-way, these are the
/// moves that it has not undone yet.
pub fn moves_to_undo(aliases: &Aliases) -> Vec<(String, Move)> {
    let newest = moves_of_newest_deployment(aliases);
    let belongs_to_newest = |step: Move| {
        newest.first().is_some_and(|(_, last)| (last.deployment, &last.build) == (step.deployment, &step.build))
    };
    let rest: Vec<_> = moves(aliases).filter(|(_, last)| belongs_to_newest(last.undone(""))).collect();
    if rest.is_empty() { newest } else { rest }
}

fn moves(aliases: &Aliases) -> impl Iterator<Item = (String, Move)> {
    aliases.iter().filter_map(|(name, alias)| Some((name.clone(), Move::parse(&alias.description)?)))
}

#[cfg(test)]
mod tests {
    use super::{Alias, Aliases, Move, deployment_number, moves_to_undo};

    fn aliases(of: &[(&str, &str, &str)]) -> Aliases {
        let alias = |version: &str, description: &str| Alias {
            function_version: version.to_owned(),
            description: description.to_owned(),
        };
        of.iter().map(|(name, version, description)| ((*name).to_owned(), alias(version, description))).collect()
    }

    #[test]
    fn a_move_is_read_from_the_description_it_was_written_to() {
        let last = Move { deployment: 7, build: "back from a1".to_owned(), before: "3".to_owned() };
        assert_eq!(Move::parse(&last.to_string()), Some(last));
        assert_eq!(Move::parse("another description"), None);
    }

    #[test]
    fn a_rollback_concerns_only_what_the_newest_deployment_moved() {
        // The last deployment was killed after it had moved one of two aliases.
        let aliases = aliases(&[
            ("signin", "4", "deployment 3 of c, before: 3"),
            ("signup", "3", "deployment 2 of b, before: 2"),
            ("public", "1", ""),
        ]);
        let moved: Vec<_> = moves_to_undo(&aliases).into_iter().map(|(name, last)| (name, last.before)).collect();
        assert_eq!(moved, [("signin".to_owned(), "3".to_owned())]);
        assert_eq!(deployment_number(&aliases, "c"), 3, "the same build continues the deployment");
        assert_eq!(deployment_number(&aliases, "d"), 4);
        assert_eq!(deployment_number(&Aliases::new(), "a"), 1);
    }
    #[test]
    fn a_rollback_that_stopped_half_way_is_finished_by_the_next() {
        let to_undo = |aliases: &Aliases| moves_to_undo(aliases).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let deployed = ("signup", "4", "deployment 3 of c, before: 3");
        let undone = ("signin", "3", "deployment 4 of back from c, before: 4");
        assert_eq!(to_undo(&aliases(&[undone, deployed])), ["signup"]);
        // The second rollback, which undoes the first, may stop half-way, too.
        let redone = ("signup", "4", "deployment 5 of back from c, before: 3");
        assert_eq!(to_undo(&aliases(&[undone, redone])), ["signin"]);
        let undone = ("signup", "3", "deployment 4 of back from c, before: 4");
        assert_eq!(to_undo(&aliases(&[("signin", "3", "deployment 4 of back from c, before: 4"), undone])).len(), 2);
    }
}
