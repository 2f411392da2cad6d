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
const HOST: &str = "host.docker.internal";

/// Variables whose values in the template are secrets, resources or logins that the containers do not have.
const ONLY_DEPLOYED: [&str; 7] = [
    "DATABASE_AUTH",
    "FUNCTIONS_ROLE",
    "JWT_ADDITIONAL_PUBLIC_KEYS",
    "JWT_ADDITIONAL_SECRET_KEYS",
    "JWT_PRIVATE_KEY",
    "MAIL_CONFIGURATION_SET",
    "STATE_TABLE",
];

/// Serve the same API with `sam local`: template.yaml's routes, in containers of Lambda's own image.
///
/// Needs what `cargo xtask up` needs, Python 3.10 (with venv), and a running Docker engine. The database and the mail server are those of `cargo xtask up`,
/// with their data; the containers reach them as host.docker.internal. The functions are built for this machine, without
/// optimisation, by `sam build`. Ctrl-C stops everything.
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
        other => bail!("Lambda does not run on machines like this one ({other})"),
    };
    let bridge = bridge()?;
    let run_folder = RunFolder::kept(&workspace)?;
    ports::claim(args.stack.port, "the API", "--port")?;
    let mut backing = BackingServices::start(&workspace, &run_folder, args.stack.ports(), args.stack.state_table)?;
    let api = format!("http://127.0.0.1:{}", args.stack.port);
    let settings = backing.settings(&run_folder, &api)?;

    step("Building the function that migrates");
    workspace.build(&["migrate".to_owned()])?;
    migrate_only(&workspace, &run_folder, &settings)?;

    step("sam build (the first time, it compiles every dependency once more)");
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
        start.args(["--add-host", &format!("{HOST}:{bridge}")]);
    }
    if has_image(architecture)? {
        start.arg("--skip-pull-image");
    }
    run_folder.show_logs();
    // sam removes its containers only after SIGINT.
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

/// The address at which containers reach this machine, or `None` if Docker itself makes the name work.
fn bridge() -> Result<Option<IpAddr>> {
    const GATEWAY: &str = "{{(index .IPAM.Config 0).Gateway}}";
    let mut inspect = Command::new("docker");
    let gateway = output("docker", inspect.args(["network", "inspect", "bridge", "--format", GATEWAY]))
        .context("sam local needs a Docker engine. Install and start one, then try again")?;
    // Docker Desktop runs its engine in a virtual machine, where the name means this machine's 127.0.0.1.
    if OS != "linux" {
        return Ok(None);
    }
    Ok(Some(gateway.trim().parse().unwrap_or(IpAddr::from([172, 17, 0, 1]))))
}

/// Whether the images that sam needs are on this machine. Then sam must not ask the registry.
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

/// The settings for the containers, in the format of sam. sam passes on only the variables that the template names.
fn for_containers(settings: &Settings, bridge: Option<IpAddr>) -> Result<String> {
    let mut variables = Map::new();
    for (name, value) in settings.read()? {
        let value = match name.as_str() {
            "DATABASE_URL" | "AWS_ENDPOINT_URL_SES" => reachable(&value, bridge)?,
            // DynamoDB Local listens on every address, the bridge's among them.
            "AWS_ENDPOINT_URL_DYNAMODB" => reachable(&value, None)?,
            _ => value,
        };
        variables.insert(name, Value::String(value));
    }
    // The database is on this machine, so TLS is not needed. By its name, the function would require TLS.
    variables.insert("DATABASE_TLS".to_owned(), json!("off"));
    for name in ONLY_DEPLOYED {
        variables.entry(name).or_insert_with(|| json!(""));
    }
    Ok(format!("{:#}\n", json!({ "Parameters": variables })))
}

/// Replaces 127.0.0.1 in an address by the name that containers use. Other addresses stay as they are.
fn reachable(address: &str, bridge: Option<IpAddr>) -> Result<String> {
    let mut url = Url::parse(address).context("an address in the settings is not valid")?;
    if !matches!(url.host_str(), Some("127.0.0.1" | "localhost")) {
        return Ok(address.to_owned());
    }
    if let Some(bridge) = bridge {
        let port = url.port_or_known_default().unwrap_or(5432);
        forward::to_localhost(bridge, port)?;
    }
    url.set_host(Some(HOST))?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{ONLY_DEPLOYED, reachable};

    #[test]
    fn nothing_that_only_a_deployment_has_gets_into_a_container() {
        let template: Value = serde_saphyr::from_str(include_str!("../../template.yaml")).expect("YAML");
        let resources = template["Resources"].as_object().expect("resources");
        let mut deployed = Vec::new();
        for function in resources.values() {
            let variables = function["Properties"]["Environment"]["Variables"].as_object();
            for (name, value) in variables.into_iter().flatten() {
                let resource = value.as_str().is_some_and(|name| resources.contains_key(name));
                if resource || value.is_array() || value.to_string().contains("{{resolve:") {
                    let in_settings = ["DATABASE_URL", "JWT_SECRET_KEY"].contains(&name.as_str());
                    assert!(in_settings || ONLY_DEPLOYED.contains(&name.as_str()), "{name}");
                    deployed.push(name);
                }
            }
        }
        assert!(ONLY_DEPLOYED.iter().all(|name| deployed.iter().any(|deployed| deployed == name)), "{deployed:?}");
    }

    #[test]
    fn only_an_address_of_this_machine_gets_another_name_in_containers() {
        let reached = |address| reachable(address, None).expect("an address");
        assert_eq!(reached("http://127.0.0.1:5005"), "http://host.docker.internal:5005/");
        assert_eq!(reached("postgres://me:secret@localhost/auth"), "postgres://me:secret@host.docker.internal/auth");
        assert_eq!(reached("https://dynamodb.eu-west-1.amazonaws.com"), "https://dynamodb.eu-west-1.amazonaws.com");
    }
}
