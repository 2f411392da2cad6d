"""Prints template.yaml and database.yaml as CloudFormation receives them, once for every combination of parameter values. SAM's own translator
translates template.yaml; then parameters, mappings and conditions are replaced by their values. Needs no AWS account."""

import itertools
import json
import os
import re
from collections import defaultdict

from samtranslator.translator.transform import transform

# The translator needs a region, and its output does not depend on it.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
NETWORK = {"DatabaseSubnets": "subnet-0aaaaaaa,subnet-0bbbbbbb", "DatabaseSecurityGroups": "sg-0aaaaaaa"}
PASSWORD_LOGIN = {"DatabaseUrlSecret": "jwt-auth/database"}
IAM_LOGIN = {
    "DatabaseAddress": "database.x.us-east-1.rds.amazonaws.com:5432/auth",
    "DatabaseResourceId": "db-1",
    "DatabaseOwnerSecret": "jwt-auth/owner",
}

# For each template: the parameters that always have the same value, and lists of choices. Every combination of one choice of each list is used.
TEMPLATES = {
    "template.yaml": (
        {"MailFrom": "no-reply@example.com", "MailDomain": "example.com"},
        [
            # The database: with IAM login, or with passwords, and then perhaps with a secret for the owner's URL. Sessions are in this database or in
            # DynamoDB.
            [
                IAM_LOGIN | NETWORK,
                IAM_LOGIN | NETWORK | {"StateStore": "dynamodb"},
                PASSWORD_LOGIN,
                PASSWORD_LOGIN | {"MigrateDatabaseUrlSecret": "jwt-auth/owner"},
                PASSWORD_LOGIN | NETWORK,
                PASSWORD_LOGIN | {"StateStore": "dynamodb"},
            ],
            [{}, {"JwtSigner": "b"}],
            [{}, {"JwtPrivateKeySecret": "jwt-auth/private-key", "JwtPublicKeysSecret": "jwt-auth/public-keys"}],
            [{}, {"MailIdentity": "create"}],
            [{}, {"DomainName": "auth.example.com", "CertificateArn": CERTIFICATE}],
            [{}, {"ReserveConcurrency": "on"}],
            [{}, {"Examples": "on"}],
            [{}, {"AlarmMail": "operations@example.com"}],
        ],
    ),
    "database.yaml": (
        {"Zones": "us-east-1a,us-east-1b"},
        [
            [{"DatabaseClass": name} for name in ["db.t4g.small", "db.t4g.medium", "db.t4g.large", "db.m7g.large", "db.m7g.xlarge"]],
            [{"PostgresVersion": version} for version in ["15", "16", "17", "18"]],
            [{}, {"DatabaseMultiAz": "true"}],
            [{}, {"DatabaseSnapshot": "rds:database-2026-01-01"}],
            [{}, {"AlarmMail": "operations@example.com"}],
        ],
    ),
}


class NoManagedPolicies:
    def load(self):
        return {}


def is_list(parameter):
    return parameter["Type"].startswith(("CommaDelimitedList", "List<"))


class Resolver:
    """Replaces parameters, mappings and conditions by their values. Attributes of deployed resources stay as they are."""

    def __init__(self, template, parameters):
        declared = template.get("Parameters", {})
        values = {name: parameter.get("Default") for name, parameter in declared.items()} | dict(parameters)
        self.parameters = {
            name: str(value).split(",") if name in declared and is_list(declared[name]) else str(value) for name, value in values.items()
        }
        self.conditions = template.get("Conditions", {})
        self.mappings = template.get("Mappings", {})

    def holds(self, condition):
        return self.resolve(self.conditions[condition])

    def resolve(self, node):
        if isinstance(node, list):
            return [item for item in map(self.resolve, node) if item != {"Ref": "AWS::NoValue"}]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Fn::If", [condition, yes, no])]:
                return self.resolve(yes if self.holds(condition) else no)
            case [("Fn::Sub", str(text))]:
                text = re.sub(r"\$\{(\w+)\}", lambda name: self.parameters.get(name[1], name[0]), text)
                return {"Fn::Sub": text} if "${" in text else text
        resolved = {name: self.resolve(value) for name, value in node.items()}
        match list(resolved.items()):
            case [("Ref", name)] if name in self.parameters:
                return self.parameters[name]
            case [("Fn::Equals", [one, other])]:
                return one == other
            case [("Fn::Not", [condition])]:
                return not condition
            case [("Fn::And", conditions)]:
                return all(conditions)
            case [("Fn::Or", conditions)]:
                return any(conditions)
            case [("Fn::Join", [separator, list(items)])] if all(isinstance(item, str) for item in items):
                return separator.join(items)
            case [("Fn::Split", [separator, str(text)])]:
                return text.split(separator)
            case [("Fn::Select", [index, list(items)])]:
                return items[int(index)]
            case [("Fn::FindInMap", [mapping, key, name])]:
                return self.mappings[mapping][key][name]
        return {name: value for name, value in resolved.items() if value != {"Ref": "AWS::NoValue"}}

    def resolve_all(self, template):
        there = {}
        for section in ["Resources", "Outputs"]:
            items = template.get(section, {}).items()
            there[section] = {name: self.resolve(item) for name, item in items if self.holds_for(item)}
        for item in [*there["Resources"].values(), *there["Outputs"].values()]:
            item.pop("Condition", None)
        return {"AWSTemplateFormatVersion": template.get("AWSTemplateFormatVersion"), **there}

    def holds_for(self, item):
        return "Condition" not in item or self.holds(item["Condition"])


class ObservedParameters(dict):
    """Values of parameters. `used` has those that the translator has read, and None for those that it has missed."""

    def __init__(self, values):
        super().__init__(values)
        self.used = {}

    def __getitem__(self, name):
        self.used[name] = super().get(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.used[name] = super().get(name)
        return super().get(name, default)

    def __contains__(self, name):
        is_there = super().__contains__(name)
        if not is_there:
            self.used[name] = None
        return is_there

    def __iter__(self):
        raise NotImplementedError("it is unknown which values the translator uses")

    copy = items = keys = values = __iter__

    def __deepcopy__(self, _):
        return self


# For each template, the translations so far, each with the values that the translator used for it.
TRANSLATIONS = defaultdict(list)


def translation(source, parameters):
    """Translates a template, as JSON, from SAM to CloudFormation. The translator reads few parameters, and takes 0.2 s. So a translation serves for
    all values of the others."""
    template = json.loads(source)
    if "Transform" not in template:
        return template
    declared = template.get("Parameters", {}).items()
    parameters = {name: parameter["Default"] for name, parameter in declared if "Default" in parameter} | parameters
    for used, former in TRANSLATIONS[source]:
        if all(parameters.get(name) == value for name, value in used.items()):
            return former
    observed = ObservedParameters(parameters)
    new = transform(template, observed, NoManagedPolicies())
    used = {name: value for name, value in observed.used.items() if not name.startswith("AWS::")}
    TRANSLATIONS[source].append((used, new))
    return new


def translated(source, parameters):
    """Translates a template, as JSON, with these values of its parameters."""
    template = translation(source, parameters)
    return Resolver(template, parameters).resolve_all(template)


def read(file):
    """A template as JSON, because the translator changes nodes in place, and YAML aliases share nodes."""
    from samcli.yamlhelper import yaml_parse

    with open(file, encoding="utf-8") as source:
        template = yaml_parse(source.read())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    return json.dumps(template)


def translations(source, given, choices):
    combinations = [dict(itertools.chain.from_iterable(map(dict.items, each))) for each in itertools.product(*choices)]
    return [{"parameters": each, "template": translated(source, given | each)} for each in combinations]


if __name__ == "__main__":
    results = {}
    for file, (given, choices) in TEMPLATES.items():
        source = read(file)
        results[file] = {"resources": len(json.loads(source)["Resources"]), "translations": translations(source, given, choices)}
    # Not json.dump, which is much slower.
    print(json.dumps(results), end="")
