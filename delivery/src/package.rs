//! `cargo delivery package`: the zips of the functions for Lambda, and what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Cursor, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use toolkit::{
    console::{print_error, say, step},
    process,
    workspace::Workspace,
};
use zip::ZipArchive;

use crate::{tools, verdict::Verdict};

/// Build functions as zips for Lambda, and show what is in them.
///
/// `cargo lambda build` cross-compiles them for arm64 into target/lambda/. Each function must contain exactly the clients that its
/// environment in template.yaml configures. An attacker who takes over a function without a mail client finds no code that sends mails.
/// A zip must not be larger than the limit for its clients, because Lambda loads it at each cold start.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo delivery package                     all of them: 15 minutes on two cores
  cargo delivery package signin public")]
pub struct Args {
    /// Which functions; all of them if none is named
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,
}

/// The machine that functions are built for, by Lambda's name.
pub const MACHINE: &str = "arm64";

/// The clients that a function may contain: the service, the variable that configures it, and a part of the client's source path, which
/// the compiler puts into the program for messages of panics and logs.
const CLIENTS: [(&str, &str, &str); 3] = [
    ("DynamoDB", "STATE_TABLE", "aws-sdk-dynamodb-"),
    ("PostgreSQL", "DATABASE_URL", "tokio-postgres-"),
    ("SES", "MAIL_FROM", "aws-sdk-ses-"),
];

/// The variable of functions that read the keys of access tokens. They contain the cryptography of key pairs.
const KEYS: &str = "JWT_PRIVATE_KEY";

/// The largest zip, in KiB, by what a function contains. A new dependency that makes a function larger than this must have a reason.
fn size_limit(clients: &BTreeSet<&str>, reads_keys: bool) -> usize {
    if clients.contains("DynamoDB") || clients.contains("SES") {
        4096
    } else if clients.contains("PostgreSQL") {
        2560
    } else if reads_keys {
        2048
    } else {
        1024
    }
}

/// A zip with a function in it.
pub struct Package {
    /// Lambda's name of the machine.
    pub machine: &'static str,
    /// SHA-256 in base64, as Lambda's API returns it.
    pub sha256: String,
    program: Vec<u8>,
    bytes: usize,
}

impl Package {
    /// Reads a zip with a program `bootstrap`.
    pub fn read(path: &Path) -> Result<Self> {
        let zip = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut program = Vec::new();
        ZipArchive::new(Cursor::new(&zip))?.by_name("bootstrap")?.read_to_end(&mut program)?;
        // e_machine of the ELF header.
        let machine = match program.get(18..20) {
            Some([0xb7, 0]) => "arm64",
            Some([0x3e, 0]) => "x86_64",
            _ => "an unknown machine",
        };
        Ok(Self { machine, sha256: BASE64.encode(Sha256::digest(&zip)), program, bytes: zip.len() })
    }

    /// The services whose clients the program contains.
    fn clients(&self) -> BTreeSet<&'static str> {
        let contains = |source: &str| self.program.windows(source.len()).any(|window| window == source.as_bytes());
        CLIENTS.into_iter().filter(|(_, _, source)| contains(source)).map(|(name, ..)| name).collect()
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let unknown: Vec<_> = args.functions.iter().filter(|name| !workspace.functions.contains(name)).collect();
    if !unknown.is_empty() {
        bail!("there is no function {unknown:?}. There are {}", workspace.functions.join(", "));
    }
    let functions = if args.functions.is_empty() { &workspace.functions } else { &args.functions };
    build(&workspace, functions)?;
    Ok(check(&workspace, functions)?.report())
}

/// Builds the packages of these functions.
pub fn build(workspace: &Workspace, functions: &[String]) -> Result<()> {
    step(format_args!(
        "Building {} for {MACHINE} (the first takes minutes, each later one takes less)",
        functions.join(", ")
    ));
    let packages = functions.iter().flat_map(|name| ["--package", name]);
    process::run("cargo lambda build", tools::cargo_lambda_build(workspace)?.args(packages))
}

/// Prints a table of the packages. A package fails if its clients or its machine do not fit the template, or if it is too large.
pub fn check(workspace: &Workspace, functions: &[String]) -> Result<Verdict> {
    let environments = environments(&fs::read_to_string(workspace.root.join("template.yaml"))?)?;
    let mut verdict = Verdict::default();
    say(format_args!("\n| function | zip, KiB | program, KiB | has clients of |\n| --- | --- | --- | --- |"));
    let packages = functions.iter().map(|name| Ok((name, Package::read(&workspace.package(name))?)));
    for (name, package) in packages.collect::<Result<Vec<_>>>()? {
        let clients = package.clients();
        let [zip, program] = [package.bytes, package.program.len()].map(|bytes| bytes.div_ceil(1024));
        say(format_args!("| `{name}` | {zip} | {program} | {} |", listed(&clients)));
        let environment = environments.get(name).with_context(|| format!("template.yaml has no function {name}"))?;
        let limit = size_limit(&clients, environment.contains(KEYS));
        let configured: BTreeSet<_> = CLIENTS
            .into_iter()
            .filter(|(_, variable, _)| environment.contains(*variable))
            .map(|(name, ..)| name)
            .collect();
        if clients != configured {
            print_error(format_args!(
                "{name} has clients of {}, but its environment in template.yaml configures clients of {}",
                listed(&clients),
                listed(&configured)
            ));
            verdict.failed += 1;
        } else if package.machine != MACHINE {
            print_error(format_args!("{name} is for {}, not for {MACHINE}", package.machine));
            verdict.failed += 1;
        } else if zip > limit {
            print_error(format_args!(
                "the zip of {name} has {zip} KiB, more than {limit} (`size_limit` in delivery/src/package.rs). \
                 `cargo bloat --release --package {name} --crates` shows which dependencies are large"
            ));
            verdict.failed += 1;
        } else {
            verdict.passed += 1;
        }
    }
    Ok(verdict)
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.iter().copied().collect::<Vec<_>>().join(", ") }
}

/// The variables that a template gives each function.
fn environments(template: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let template: Value = serde_saphyr::from_str(template)?;
    let functions = template["Resources"].as_object().into_iter().flatten().filter_map(|(_, resource)| {
        let name = resource["Properties"]["CodeUri"].as_str()?.strip_prefix("functions/")?.trim_end_matches('/');
        let variables = resource["Properties"]["Environment"]["Variables"].as_object().into_iter().flatten();
        Some((name.to_owned(), variables.map(|(name, _)| name.clone()).collect()))
    });
    Ok(functions.collect())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    #[test]
    fn the_machine_and_the_clients_of_a_package_are_read_from_its_program() {
        let path = std::env::temp_dir().join(format!("package-{}.zip", std::process::id()));
        let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0".to_vec();
        program.extend(b" /registry/tokio-postgres-0.7.18/src/client.rs ");
        let mut zip = ZipWriter::new(File::create(&path).expect("a file"));
        zip.start_file("bootstrap", SimpleFileOptions::default()).expect("a file in it");
        zip.write_all(&program).expect("its content");
        zip.finish().expect("a zip");

        let package = Package::read(&path).expect("a package");
        fs::remove_file(&path).expect("to be removed");
        assert_eq!(package.machine, "arm64");
        assert_eq!(package.clients(), ["PostgreSQL"].into());
        assert_eq!(package.sha256.len(), 44);
    }

    #[test]
    fn variables_that_functions_share_in_the_template_belong_to_each_of_them() {
        let environments = environments(include_str!("../../template.yaml")).expect("environments");
        assert!(environments["public"].is_empty());
        assert!(environments["signup"].contains("STATE_TABLE") && environments["signup"].contains("DATABASE_URL"));
        let mailers = environments.iter().filter(|(_, variables)| variables.contains("MAIL_FROM"));
        let mailers = mailers.map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            mailers,
            [
                "account",
                "change-email",
                "change-password",
                "forgot-password",
                "reset-password",
                "signup",
                "sweep",
                "verify-email"
            ]
        );
    }
}
