//! The stack of the database, `<the application's stack>-database`, which is made from `database.yaml`. A deployment deploys
//! `database.yaml` only if the application has no database yet, or on request. Otherwise it only reads the outputs of this stack.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use toolkit::{
    console::{say, step},
    workspace::Workspace,
};

use crate::{
    aws::Aws,
    cloudformation::{Description, StackUpdate, describe_ready},
    request::Request,
    templates::Parameters,
};

/// The parameter of `template.yaml` for a database with passwords.
pub const URL_SECRET: &str = "DatabaseUrlSecret";

/// The parameter of `template.yaml` for a database with IAM login.
pub const ADDRESS: &str = "DatabaseAddress";

/// The parameter of `template.yaml` that names the database's network.
const SUBNETS: &str = "DatabaseSubnets";

/// The parameter of `database.yaml` for a database that is created from a snapshot.
const SNAPSHOT: &str = "DatabaseSnapshot";

/// The stack, and what a deployment does with it.
pub struct DataStack<'a> {
    request: &'a Request,
    name: String,
    /// `None` if there is no stack.
    deployed: Option<Description>,
    /// See [`parameters_after`].
    application: Parameters,
    /// Whether the application uses this database after the deployment.
    is_used: bool,
    /// Whether the deployment deploys `database.yaml`.
    is_deployed: bool,
}

impl<'a> DataStack<'a> {
    /// Decides what a deployment of an application does. Returns an error if the request contradicts what is deployed.
    pub fn plan(
        request: &'a Request,
        aws: &mut Aws,
        application_stack: &str,
        application: &Description,
    ) -> Result<Self> {
        let name = format!("{application_stack}-database");
        let uses_passwords = !request.application.value(&parameters_after(request, application), URL_SECRET).is_empty();
        // A stack that the application does not use may be in any state. For example, somebody may be deleting it.
        let is_ignored = uses_passwords && !request.concerns_database();
        let deployed = if is_ignored { None } else { describe_ready(aws, &name)? };
        Self::decide(request, name, deployed, application)
    }

    fn decide(
        request: &'a Request,
        name: String,
        deployed: Option<Description>,
        application: &Description,
    ) -> Result<Self> {
        let parameters = parameters_after(request, application);
        let has = |parameter: &&str| !request.application.value(&parameters, parameter).is_empty();
        // If the database has a stack, DatabaseAddress is an output of this stack, so it does not mean another database.
        let is_foreign = |parameter: &&str| *parameter == URL_SECRET || deployed.is_none();
        let other = [URL_SECRET, ADDRESS].into_iter().filter(is_foreign).find(has);
        if other.is_some() {
            refuse_network_of_former_database(request, application)?;
        }
        match &deployed {
            None => {
                refuse_second_address(request, other)?;
                refuse_other_database(request, other)?;
                refuse_empty_database(request, application)?;
            }
            Some(stack) => {
                if other.is_none() {
                    refuse_outputs(request, &name, stack)?;
                }
                refuse_no_snapshot(request, stack)?;
                refuse_replacement_without_consent(request, stack)?;
            }
        }
        let is_needed = deployed.is_none() && other.is_none();
        let is_deployed = is_needed || request.concerns_database();
        Ok(Self { request, name, deployed, application: parameters, is_used: other.is_none(), is_deployed })
    }

    /// Returns an error if the functions have reserved concurrency, and the database would have fewer connections than they need.
    pub fn check_connections(&self, needed: u64) -> Result<()> {
        let Self { request, .. } = self;
        if !self.is_used || request.application.value(&self.application, "ReserveConcurrency") != "on" {
            return Ok(());
        }
        let Some(maximum) = self.connections().filter(|maximum| *maximum < needed) else { return Ok(()) };
        let classes = request.database.mapping("Connections", "Maximum");
        let enough = classes.into_iter().filter_map(|(class, maximum)| Some((maximum.parse::<u64>().ok()?, class)));
        let (_, class) = enough
            .filter(|(maximum, _)| *maximum >= needed)
            .min()
            .context("no DatabaseClass has enough connections")?;
        bail!(
            "with ReserveConcurrency=on, the functions need {needed} connections to the database (docs/database.md, How many connections). \
             The database would have {maximum}. Add --set DatabaseClass={class}, or --set ReserveConcurrency=off"
        )
    }

    /// Returns an error if the database's stack was not made from this `database.yaml`. The network of an earlier one may block operations of
    /// DynamoDB that sessions need.
    pub fn check_is_current(&self) -> Result<()> {
        if self.is_used && self.is_outdated() && !self.is_deployed {
            bail!(
                "the stack {} was made from another database.yaml, but sessions in DynamoDB need the one that is checked out. Add --database",
                self.name
            );
        }
        Ok(())
    }

    /// Whether the stack was made from another `database.yaml`.
    fn is_outdated(&self) -> bool {
        self.deployed.as_ref().is_some_and(|stack| !stack.is_of(&self.request.database))
    }

    /// The number of connections to the database after the deployment. `None` if the class does not exist.
    fn connections(&self) -> Option<u64> {
        if !self.is_deployed {
            return self.deployed.as_ref()?.outputs.get("MaxConnections")?.parse().ok();
        }
        let mut parameters = self.deployed.as_ref().map(|stack| stack.parameters.clone()).unwrap_or_default();
        parameters.extend(self.request.given.clone());
        let class = self.request.database.value(&parameters, "DatabaseClass");
        self.request.database.mapping("Connections", "Maximum").get(class)?.parse().ok()
    }

    /// Deploys `database.yaml` if the deployment requires it. Returns the parameters that the application gets from the database.
    pub fn deploy(&mut self, workspace: &Workspace, aws: &mut Aws) -> Result<Parameters> {
        if self.is_deployed {
            let parameters = self.parameters(aws)?;
            step(format_args!("Deploying database.yaml to the stack {}", self.name));
            let file = workspace.root.join("database.yaml");
            let Request { stage, database: template, .. } = self.request;
            let update = StackUpdate { stage, stack: &self.name, template, file: &file, parameters: &parameters };
            update
                .run(workspace)
                .with_context(|| format!("the database was not deployed. Look at the stack {}", self.name))?;
            self.deployed = describe_ready(aws, &self.name)?;
        } else if self.is_outdated() {
            say(format_args!(
                "database.yaml differs from the stack {}. To deploy it: cargo delivery deploy --stage {} --database",
                self.name, self.request.stage
            ));
        }
        let outputs = self.deployed.as_ref().filter(|_| self.is_used).map(|stack| &stack.outputs);
        Ok(outputs.map(|outputs| self.request.application.of_its_own(outputs)).unwrap_or_default())
    }

    /// The parameters of `database.yaml` that this deployment sets. Parameters of both templates have the application's value.
    fn parameters(&self, aws: &mut Aws) -> Result<Parameters> {
        let template = &self.request.database;
        let mut parameters = template.of_its_own(&self.application);
        parameters.extend(template.of_its_own(&self.request.given));
        if self.deployed.is_none() && !parameters.contains_key("Zones") {
            parameters.insert("Zones".to_owned(), zones_with_ses(aws)?);
        }
        Ok(parameters)
    }
}

/// The parameters of the application after the deployment. Those that the outputs of the database's stack set still have their earlier values.
fn parameters_after(request: &Request, application: &Description) -> Parameters {
    let mut parameters = application.parameters.clone();
    parameters.extend(request.for_application());
    parameters
}

/// The outputs of the database's stack replace DatabaseAddress, so the application would change to the new, empty database at once.
fn refuse_second_address(request: &Request, other: Option<&str>) -> Result<()> {
    if request.with_database && other == Some(ADDRESS) {
        bail!(
            "--database: this stage uses a database of its own ({ADDRESS}), and would use the new, empty one instead. First let the \
             application log in with a password (DatabaseUrlSecret; docs/deploying.md, A database of your own). If the database of \
             {ADDRESS} does not exist any more, add --set {ADDRESS}="
        );
    }
    Ok(())
}

/// Refuses parameters of a database that this stage does not have.
fn refuse_other_database(request: &Request, other: Option<&str>) -> Result<()> {
    let asked = request.only_for_database();
    match (other, asked.first()) {
        (Some(other), Some(parameter)) if !request.with_database => bail!(
            "--set {parameter}: {parameter} is a parameter of database.yaml, but this stage uses another database ({other}). Leave it out"
        ),
        _ => Ok(()),
    }
}

/// Earlier versions of `template.yaml` contained the database. The application must not change to an empty one.
fn refuse_empty_database(request: &Request, application: &Description) -> Result<()> {
    let contains_database = application.parameters.get("Database").is_some_and(|database| database == "create");
    if contains_database && request.given.get(SNAPSHOT).is_none_or(String::is_empty) {
        bail!(
            "the application's stack contains its database, as earlier versions of template.yaml made it. Nothing was changed. Move the \
             database first: docs/deploying.md, From one stack to two"
        );
    }
    Ok(())
}

/// If the application changes to a database with passwords, no output sets DatabaseSubnets, so the functions would stay in the former subnets. The
/// former stack could then not be deleted.
fn refuse_network_of_former_database(request: &Request, application: &Description) -> Result<()> {
    let before = |parameter| !request.application.value(&application.parameters, parameter).is_empty();
    let is_given = |parameter| request.given.contains_key(parameter);
    if before(ADDRESS) && before(SUBNETS) && is_given(ADDRESS) && !is_given(SUBNETS) {
        bail!(
            "the functions are in the subnets of the former database. Give the subnets from which they reach the other database: \
             --set DatabaseSubnets=… --set DatabaseSecurityGroups=…, with empty values if it has a public address"
        );
    }
    Ok(())
}

/// Refuses values that the stack of the database sets.
fn refuse_outputs(request: &Request, name: &str, stack: &Description) -> Result<()> {
    if let Some(parameter) = request.given.keys().find(|parameter| stack.outputs.contains_key(*parameter)) {
        bail!(
            "--set {parameter}: {parameter} is an output of the stack {name}, which contains the application's database. Leave it out. \
             docs/deploying.md, A database of your own, says how to use another database"
        );
    }
    Ok(())
}

/// If the parameter DatabaseSnapshot becomes empty, CloudFormation replaces the database by an empty one.
fn refuse_no_snapshot(request: &Request, stack: &Description) -> Result<()> {
    let has_snapshot = |parameters: &Parameters| parameters.get(SNAPSHOT).map(|snapshot| !snapshot.is_empty());
    if has_snapshot(&stack.parameters) == Some(true) && has_snapshot(&request.given) == Some(false) {
        bail!("--set {SNAPSHOT}=: CloudFormation would replace the database by an empty one. Leave it out");
    }
    Ok(())
}

/// In a database from a snapshot, sessions that ended after the snapshot may be live again.
fn refuse_replacement_without_consent(request: &Request, stack: &Description) -> Result<()> {
    let is_other = |snapshot: &String| stack.parameters.get(SNAPSHOT).is_none_or(|deployed| deployed != snapshot);
    if request.given.get(SNAPSHOT).is_some_and(is_other) && !request.signs_everybody_out {
        bail!(
            "--set {SNAPSHOT} replaces the database by an earlier state. Sessions that have ended since then could be live again. Add \
             --sign-everybody-out (docs/deploying.md, A restore)"
        );
    }
    Ok(())
}

/// Two availability zones with the endpoint of SES, separated by a comma. `database.yaml` needs the endpoint in the first zone.
fn zones_with_ses(aws: &mut Aws) -> Result<String> {
    let zones = aws.call("ec2", "describe_availability_zones", &json!({}))?;
    let region = zones["AvailabilityZones"][0]["RegionName"].as_str().context("AWS names no region")?;
    let service = format!("com.amazonaws.{region}.email");
    let services = aws.call("ec2", "describe_vpc_endpoint_services", &json!({ "ServiceNames": [service] }))?;
    let zones = first_two(&services["ServiceDetails"][0]["AvailabilityZones"]).with_context(|| {
        format!(
            "the endpoint {service} exists in fewer than two availability zones. Choose two zones for the database: --set Zones=a,b. \
             The first one must have the endpoint"
        )
    })?;
    say(format_args!("The database's zones: {zones}"));
    Ok(zones)
}

fn first_two(zones: &Value) -> Option<String> {
    let mut zones: Vec<_> = zones.as_array()?.iter().filter_map(Value::as_str).collect();
    zones.sort_unstable();
    Some(zones.get(..2)?.join(","))
}

#[cfg(test)]
mod tests;
