//! The README's walk-through. `cargo xtask up` prints it, and a test runs it.

use std::fs;

use anyhow::{Context as _, Result};
use toolkit::workspace::Workspace;

use crate::stack::API_PORT;

const HEADING: &str = "## A walk-through";

/// Shell commands, and their expected output. In the output, `…` stands for any text.
pub struct Step {
    pub commands: String,
    pub output: String,
}

pub struct WalkThrough {
    /// The commands from sign-up to the request for a reset mail.
    pub before_reset: Step,
    /// The commands that use the new password, `another-password456`.
    pub after_reset: Step,
}

impl WalkThrough {
    /// Reads the walk-through from README.md, and replaces the API's default address with `api`.
    pub fn read(workspace: &Workspace, api: &str) -> Result<Self> {
        let text = fs::read_to_string(workspace.root.join("README.md")).context("README.md cannot be read")?;
        let default_api = format!("http://127.0.0.1:{API_PORT}");
        let (_, section) = text.split_once(HEADING).with_context(|| format!("README.md has no heading `{HEADING}`"))?;
        let section = section.split("\n## ").next().unwrap_or_default().replace(&default_api, api);
        let mut blocks = section.split("```").skip(1).step_by(2);
        let mut block = |kind: &str| {
            let block = blocks.next().and_then(|block| block.strip_prefix(kind));
            block
                .map(|block| block.trim().to_owned())
                .with_context(|| format!("README.md lacks a `{kind}` block below `{HEADING}`"))
        };
        let mut step = || Ok::<_, anyhow::Error>(Step { commands: block("sh")?, output: block("text")? });
        Ok(Self { before_reset: step()?, after_reset: step()? })
    }
}
