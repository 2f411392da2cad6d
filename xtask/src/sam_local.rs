//! `cargo xtask sam-local`.

use std::{
    env::consts::{ARCH, OS},
    fs,
    net::IpAddr,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use toolkit::{
    console::{say, step},
    interrupt::{self, Interrupted},
    ports,
    process::{self, output},
    run_folder::RunFolder,
    service::Service,
    system::Prerequisite,
    tools,
    workspace::Workspace,
};
use url::Url;

use crate::{
    stack::{BackingServices, StackArgs, forward, migrate_only, settings::Settings},
    up,
};

/// The name by which containers reach this machine.
const HOST_NAME_IN_CONTAINERS: &str = "host.docker.internal";

/// Variables whose values in template.yaml exist only in a deployment: resources, secrets and results of conditions. The containers get
/// the value in the local settings or, if there is none, the empty string.
const DEPLOYMENT_ONLY_VARIABLES: [&str; 9] = [
    "DATA_ADDITIONAL_SECRET_KEYS",
    "DATABASE_AUTH",
    "DATABASE_PASSWORD",
    "FUNCTIONS_ROLE",
    "JWT_ADDITIONAL_PUBLIC_KEYS",
    "JWT_ADDITIONAL_SECRET_KEYS",
    "JWT_PRIVATE_KEY",
    "MAIL_CONFIGURATION_SET",
    "STATE_TABLE",
];

/// Serve the API with `sam local` instead of the local gateway
///
/// `sam local` reads the routes from template.yaml and runs the functions in containers of AWS's Lambda image. `sam build` builds
/// the functions for the processor of this machine, without optimisation. Uses the same local database and mail server as
/// `cargo xtask up`, including the stored data. Needs the programs that `cargo xtask up` needs, Python 3.10 (with venv), and a
/// running Docker engine. Ctrl-C stops everything.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: StackArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    args.stack.require(&[Prerequisite::Python])?;
    let workspace = Workspace::load()?;
    let architecture = match ARCH {
        "x86_64" => "x86_64",
        "aarch64" => "arm64",
        other => bail!("Lambda does not support the processor architecture {other}"),
    };
    let bridge = bridge_address()?;
    let run_folder = RunFolder::kept(&workspace)?;
    ports::claim(args.stack.port, "the API", "--port")?;
    let mut backing = BackingServices::start(&workspace, &run_folder, args.stack.ports(), args.stack.state_table)?;
    let api = format!("http://127.0.0.1:{}", args.stack.port);
    let settings = backing.settings(&run_folder, &api)?;

    step("Building the function `migrate`");
    workspace.build(&["migrate".to_owned()])?;
    migrate_only(&workspace, &run_folder, &settings)?;

    step("sam build (the first run compiles all dependencies again, separately from `cargo xtask up`)");
    let origins = args.stack.allowed_origins.iter().map(|origins| format!("AllowedOrigins={origins}"));
    let parameters: Vec<String> = [format!("Architecture={architecture}")].into_iter().chain(origins).collect();
    let mut build = tools::sam_build(&workspace)?;
    build.arg("--parameter-overrides").args(&parameters).env("SAM_BUILD_MODE", "debug");
    process::run("sam build", &mut build)?;

    let environment = run_folder.path().join("sam-env.json");
    fs::write(&environment, for_containers(&settings, bridge)?)?;
    step(format_args!("Starting sam local on {api}"));
    let mut start = tools::sam(&workspace)?;
    start.args(["local", "start-api", "--port", &args.stack.port.to_string(), "--warm-containers", "LAZY"]);
    start.arg("--parameter-overrides").args(&parameters).arg("--env-vars").arg(&environment);
    if let Some(bridge) = bridge {
        start.args(["--add-host", &format!("{HOST_NAME_IN_CONTAINERS}:{bridge}")]);
    }
    if has_image(architecture)? {
        start.arg("--skip-pull-image");
    }
    run_folder.show_logs();
    // Stopped with SIGINT, because sam does not remove its containers after other signals.
    let mut sam = Service::with_shown_log("sam", "sam", &mut start, &run_folder)?.stopped_by(Signal::SIGINT);
    sam.await_ready(Duration::from_mins(5), || ports::answers(args.stack.port))?;

    say(up::welcome(&workspace, &api, &backing, &settings)?);
    loop {
        match interrupt::sleep(interrupt::POLL_INTERVAL).and_then(|()| sam.check()).and_then(|()| backing.check()) {
            Err(error) if error.is::<Interrupted>() => break,
            checked => checked?,
        }
    }
    step("Stopping");
    drop(sam);
    drop(backing);
    say("Everything is stopped.");
    Ok(ExitCode::SUCCESS)
}

/// The address at which containers reach this machine, or `None` if Docker resolves `host.docker.internal` itself.
fn bridge_address() -> Result<Option<IpAddr>> {
    const GATEWAY: &str = "{{(index .IPAM.Config 0).Gateway}}";
    let mut inspect = Command::new("docker");
    let gateway = output("docker", inspect.args(["network", "inspect", "bridge", "--format", GATEWAY]))
        .context("sam local needs a Docker engine. Install and start one, then try again")?;
    // Docker Desktop resolves `host.docker.internal` itself. By this name, containers also reach programs that listen only on the
    // host's 127.0.0.1.
    if OS != "linux" {
        return Ok(None);
    }
    Ok(Some(gateway.trim().parse().unwrap_or(IpAddr::from([172, 17, 0, 1]))))
}

/// Whether one of the images that sam can use is on this machine. If so, sam does not need to download it.
fn has_image(architecture: &str) -> Result<bool> {
    for tag in ["al2023-rapid", "al2023"] {
        let image = format!("public.ecr.aws/lambda/provided:{tag}-{architecture}");
        let found = output("docker image ls", Command::new("docker").args(["image", "ls", "--quiet", &image]))?;
        if !found.trim().is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The settings for the containers, in sam's format. sam gives a function only the variables that the template lists for it.
fn for_containers(settings: &Settings, bridge: Option<IpAddr>) -> Result<String> {
    let mut variables = Map::new();
    for (name, value) in settings.read()? {
        let value = match name.as_str() {
            "DATABASE_URL" | "AWS_ENDPOINT_URL_SES" => address_for_containers(&value, bridge)?,
            // DynamoDB Local already listens on the bridge's address, so no forwarding is needed.
            "AWS_ENDPOINT_URL_DYNAMODB" => address_for_containers(&value, None)?,
            _ => value,
        };
        variables.insert(name, Value::String(value));
    }
    // Without this setting, the function would require TLS, because `host.docker.internal` is not a loopback address.
    variables.insert("DATABASE_TLS".to_owned(), json!("off"));
    for name in DEPLOYMENT_ONLY_VARIABLES {
        variables.entry(name).or_insert_with(|| json!(""));
    }
    Ok(format!("{:#}\n", json!({ "Parameters": variables })))
}

/// Replaces a loopback host in an address by the name that containers use, and forwards the port. Other addresses stay as they
/// are.
fn address_for_containers(address: &str, bridge: Option<IpAddr>) -> Result<String> {
    let mut url = Url::parse(address).context("an address in the settings is not valid")?;
    if !matches!(url.host_str(), Some("127.0.0.1" | "localhost")) {
        return Ok(address.to_owned());
    }
    if let Some(bridge) = bridge {
        // `url` knows no default port for `postgres:`.
        let port = url.port_or_known_default().unwrap_or(5432);
        forward::to_localhost(bridge, port)?;
    }
    url.set_host(Some(HOST_NAME_IN_CONTAINERS))?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{DEPLOYMENT_ONLY_VARIABLES, address_for_containers};

    #[test]
    fn deployment_only_variables_are_empty_in_containers() {
        let template: Value = serde_saphyr::from_str(include_str!("../../template.yaml")).expect("YAML");
        let resources = template["Resources"].as_object().expect("resources");
        let mut deployed = Vec::new();
        for function in resources.values() {
            let variables = function["Properties"]["Environment"]["Variables"].as_object();
            for (name, value) in variables.into_iter().flatten() {
                let resource = value.as_str().is_some_and(|name| resources.contains_key(name));
                if resource || value.is_array() || value.to_string().contains("{{resolve:") {
                    let in_settings = ["DATABASE_URL", "DATA_SECRET_KEY", "JWT_SECRET_KEY"].contains(&name.as_str());
                    assert!(in_settings || DEPLOYMENT_ONLY_VARIABLES.contains(&name.as_str()), "{name}");
                    deployed.push(name);
                }
            }
        }
        assert!(
            DEPLOYMENT_ONLY_VARIABLES.iter().all(|name| deployed.iter().any(|deployed| deployed == name)),
            "{deployed:?}"
        );
    }

    #[test]
    fn only_loopback_addresses_are_replaced() {
        let replaced = |address| address_for_containers(address, None).expect("an address");
        assert_eq!(replaced("http://127.0.0.1:5005"), "http://host.docker.internal:5005/");
        assert_eq!(replaced("postgres://me:secret@localhost/auth"), "postgres://me:secret@host.docker.internal/auth");
        assert_eq!(replaced("https://dynamodb.eu-west-1.amazonaws.com"), "https://dynamodb.eu-west-1.amazonaws.com");
    }
}
