//! What `cargo delivery deploy` is asked for: the two templates, and the parameters given with `--set`.

use anyhow::{Context as _, Result, bail};
use toolkit::workspace::Workspace;

use crate::{
    cloudformation::Description,
    sign_out::new_generations,
    templates::{BUILD, Parameters, Template},
};

/// How similar a name must be to be suggested, from 0 to 1.
const SIMILAR: f64 = 0.85;

#[derive(clap::Args)]
pub struct RequestArgs {
    /// A section of samconfig.toml, which names the stack
    #[arg(long, value_name = "STAGE")]
    pub stage: String,

    /// Deploy database.yaml, too: create the database's stack, or change it to what is checked out
    #[arg(long)]
    database: bool,

    /// A parameter of template.yaml or database.yaml, which the stack keeps from then on; may be repeated. Both templates have
    /// AlarmMail: whenever database.yaml is deployed, its stack gets the application's value
    #[arg(long = "set", value_name = "PARAMETER=VALUE")]
    parameters: Vec<String>,

    /// Generate new values of both secrets that sign tokens and, with StateStore=dynamodb, create a new table of sessions
    #[arg(long)]
    sign_everybody_out: bool,
}

pub struct Request {
    /// A section of samconfig.toml.
    pub stage: String,
    pub application: Template,
    pub database: Template,
    /// The given parameters of both templates.
    pub given: Parameters,
    /// Whether `--database` was given.
    pub with_database: bool,
    /// Whether everybody must sign in again after the deployment.
    pub signs_everybody_out: bool,
}

impl Request {
    /// Reads the templates. Returns an error if a given parameter (`NAME=VALUE`) is in neither of them.
    pub fn new(workspace: &Workspace, args: &RequestArgs) -> Result<Self> {
        let (application, database) = (Template::application(workspace)?, Template::database(workspace)?);
        let mut given = if args.sign_everybody_out { new_generations() } else { Parameters::new() };
        given.extend(parse(&args.parameters, &application, &database)?);
        Ok(Self {
            stage: args.stage.clone(),
            application,
            database,
            given,
            with_database: args.database,
            signs_everybody_out: args.sign_everybody_out,
        })
    }

    /// The given parameters of the application.
    pub fn for_application(&self) -> Parameters {
        self.application.of_its_own(&self.given)
    }

    /// The parameters that the application's stack keeps, and the given ones. The new values that come from the database's stack (such as
    /// `DatabaseAddress`) are added later. Returns an error if a parameter has no value.
    pub fn parameters(&self, application: &Description) -> Result<Parameters> {
        let mut parameters = self.application.of_its_own(&application.parameters);
        parameters.extend(self.for_application());
        let missing = self.application.missing(&parameters);
        if !missing.is_empty() {
            let set: Vec<_> = missing.iter().map(|name| format!("--set {name}=…")).collect();
            bail!("the template needs a value of {}. Add {}", missing.join(" and "), set.join(" "));
        }
        Ok(parameters)
    }

    /// Whether `database.yaml` must be deployed: on request, or because of a parameter that only it has.
    pub fn concerns_database(&self) -> bool {
        self.with_database || !self.only_for_database().is_empty()
    }

    /// The names of the given parameters that only the database has.
    pub fn only_for_database(&self) -> Vec<&str> {
        let application = self.application.parameters();
        self.given.keys().map(String::as_str).filter(|name| !application.contains(name)).collect()
    }
}

fn parse(given: &[String], application: &Template, database: &Template) -> Result<Parameters> {
    let known: Vec<_> = application.parameters().union(&database.parameters()).copied().collect();
    let mut parameters = Parameters::new();
    for parameter in given {
        let (name, value) = parameter
            .split_once('=')
            .with_context(|| format!("--set {parameter} has no =. Write --set PARAMETER=VALUE"))?;
        if name == BUILD {
            bail!("--set {name}: this command computes {name}. Leave it out");
        }
        if !known.contains(&name) {
            let mut similar: Vec<_> = known.clone();
            similar.retain(|known| strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()) >= SIMILAR);
            let names = if similar.is_empty() { known } else { similar };
            bail!(
                "--set {name}: template.yaml and database.yaml have no parameter {name}. Did you mean one of these: {}?",
                names.join(", ")
            );
        }
        parameters.insert(name.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::{Description, Request, Template, parse};

    fn request(given: &[&str]) -> anyhow::Result<Request> {
        let application = Template::parse(
            "template.yaml",
            "Parameters: { Build: { Default: none }, MailFrom: {}, AlarmMail: { Default: '' } }",
        );
        let database = Template::parse("database.yaml", "Parameters: { DatabaseClass: {}, AlarmMail: {} }");
        let given: Vec<_> = given.iter().map(|given| (*given).to_owned()).collect();
        let given = parse(&given, &application, &database)?;
        let stage = "production".to_owned();
        Ok(Request { stage, application, database, given, with_database: false, signs_everybody_out: false })
    }

    #[test]
    fn a_parameter_belongs_to_the_templates_that_declare_it() {
        let request = request(&["DatabaseClass=db.t4g.large", "AlarmMail=a=b"]).expect("known parameters");
        assert_eq!(request.only_for_database(), ["DatabaseClass"]);
        assert_eq!(request.for_application(), [("AlarmMail".to_owned(), "a=b".to_owned())].into());
    }

    #[test]
    fn a_parameter_without_a_default_needs_a_value() {
        let parameters = |given: &[&str], kept: &[(&str, &str)]| {
            let kept = kept.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            request(given)?.parameters(&Description { parameters: kept, ..Description::default() })
        };
        let refusal = parameters(&[], &[]).unwrap_err().to_string();
        assert_eq!(refusal, "the template needs a value of MailFrom. Add --set MailFrom=…");
        assert_eq!(parameters(&["MailFrom=a"], &[]).unwrap()["MailFrom"], "a");
        let kept = parameters(&["MailFrom=b"], &[("MailFrom", "a"), ("Removed", "c"), ("AlarmMail", "d")]).unwrap();
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            [("AlarmMail", "d"), ("MailFrom", "b")].map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_names_that_are_similar() {
        let refusal = |given| request(&[given]).err().expect("a refusal").to_string();
        assert!(refusal("databaseclas=x").ends_with("Did you mean one of these: DatabaseClass?"));
        assert!(refusal("Zzz=x").ends_with("Did you mean one of these: AlarmMail, DatabaseClass, MailFrom?"));
        assert!(refusal("MailFrom").contains("Write --set PARAMETER=VALUE"));
        assert!(refusal("Build=x").contains("computes Build"));
    }
}
