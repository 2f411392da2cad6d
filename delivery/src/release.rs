//! `cargo delivery release`.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use toolkit::{
    console::{say, step},
    process,
    workspace::Workspace,
};

use crate::{package, tools};

/// Collect the files of a release in target/delivery/.
///
/// These are each function's zip and SBOM (CycloneDX), their checksums in SHA256SUMS, and the version's section of CHANGELOG.md in
/// NOTES.md.
#[derive(clap::Args)]
pub struct Args {
    /// The released version with a v in front; Cargo.toml and CHANGELOG.md must have it. Without a tag, NOTES.md contains the section Unreleased
    #[arg(long, value_name = "vX.Y.Z")]
    tag: Option<String>,

    /// Use the zips in target/lambda/, and build nothing
    #[arg(long)]
    built: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let version = match &args.tag {
        None => "Unreleased",
        Some(tag) if tag.strip_prefix('v') == Some(env!("CARGO_PKG_VERSION")) => env!("CARGO_PKG_VERSION"),
        Some(tag) => {
            bail!("the tag {tag} is not v{}, which Cargo.toml has. Change one of them", env!("CARGO_PKG_VERSION"))
        }
    };
    let changelog = fs::read_to_string(workspace.root.join("CHANGELOG.md"))?;
    let notes = notes(&changelog, version)
        .with_context(|| format!("CHANGELOG.md has no text about {version}. Add a section `## {version}`"))?;

    if !args.built {
        package::build(&workspace, &workspace.functions)?;
    }
    if package::check(&workspace, &workspace.functions)?.failed > 0 {
        bail!("these packages cannot be released: see above");
    }
    step("Writing the SBOMs");
    process::run("cargo cyclonedx", &mut tools::cargo_cyclonedx(&workspace)?)?;

    let folder = workspace.release();
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("NOTES.md"), notes)?;
    let mut sums = Vec::new();
    for name in &workspace.functions {
        let sbom = workspace.root.join("functions").join(name).join(tools::SBOM);
        for (from, to) in [(workspace.package(name), format!("{name}.zip")), (sbom, format!("{name}.sbom.json"))] {
            let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            sums.push(format!("{}  {to}\n", hex::encode(Sha256::digest(&content))));
            fs::write(folder.join(to), content)?;
        }
    }
    fs::write(folder.join("SHA256SUMS"), sums.concat())?;
    say(format_args!("The release is in {}", folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// The section of a version, without its heading.
fn notes(changelog: &str, version: &str) -> Option<String> {
    let is_heading =
        |line: &&str| line.strip_prefix("## ").is_some_and(|title| title.split(' ').next() == Some(version));
    let section = changelog.lines().skip_while(|line| !is_heading(line)).skip(1);
    let section = section.take_while(|line| !line.starts_with("## ")).collect::<Vec<_>>().join("\n");
    Some(section.trim().to_owned()).filter(|section| !section.is_empty())
}

#[cfg(test)]
mod tests {
    use super::notes;

    #[test]
    fn the_notes_of_a_version_are_its_section_of_the_changelog() {
        let changelog =
            "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n### Added\n\n- b\n\n## 0.1.0\n\n- a\n";
        assert_eq!(notes(changelog, "0.2.0").as_deref(), Some("### Added\n\n- b"));
        assert_eq!(notes(changelog, "0.1.0").as_deref(), Some("- a"));
        assert_eq!(notes(changelog, "Unreleased"), None);
        assert_eq!(notes(changelog, "0.3.0"), None);
    }
}
