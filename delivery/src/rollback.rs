//! `cargo delivery deploy --rollback`.

use anyhow::{Context as _, Result, bail};
use toolkit::console::say;

use crate::{
    alias::{Move, moves_to_undo},
    deployed_stack::{DeployedStack, list},
};

/// Finds the aliases that the newest deployment moved, and points each of them to its previous version. A
/// rollback is recorded like a deployment, so a second rollback undoes the first, or finishes it if it stopped half-way.
pub fn roll_back(stack: &mut DeployedStack<'_>) -> Result<()> {
    let now = stack.aliases()?;
    let moves = moves_to_undo(&now);
    if moves.is_empty() {
        bail!(
            "no alias `live` of {} records an earlier version: this command has not deployed anything yet",
            stack.name
        );
    }
    if moves.iter().all(|(name, last)| last.before == now[name].function_version) {
        bail!("the first deployment is live, so there is no earlier version. Nothing was changed");
    }
    // All versions are checked before the first alias moves, so that a missing version does not stop the rollback half-way.
    for (name, Move { before, .. }) in &moves {
        let Some(table_before) = stack.session_table(name, before)? else {
            bail!(
                "version {before} of {name} does not exist any more, so nothing was changed. Check out the commit it was built from, and deploy that"
            );
        };
        if stack.session_table(name, &now[name].function_version)?.is_some_and(|table| table != table_before) {
            bail!(
                "the last deployment moved the sessions, so nothing was changed: in the earlier place, sessions that have ended since then would be \
                 live again. Deploy instead (docs/deploying.md, Sessions in DynamoDB)"
            );
        }
    }
    for (name, last) in &moves {
        let rollback = last.undone(&now[name].function_version);
        stack
            .set_live(name, &last.before, &rollback.to_string())
            .context("the rollback stopped half-way. Another --rollback finishes it")?;
    }
    let versions = moves.iter().map(|(name, last)| (name, format!("{} → {}", now[name].function_version, last.before)));
    say(format_args!("live: {}", list(versions)));
    say(
        "The functions run the versions that were live before the last deployment or rollback. The tables were not changed. Another --rollback undoes this one.",
    );
    Ok(())
}
