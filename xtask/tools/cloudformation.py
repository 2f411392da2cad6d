"""A CloudFormation for rehearsals, which replaces moto's own. It translates templates as AWS does and validates parameters as AWS does. It creates
functions, versions, aliases, roles, buckets and databases. It only records all other resources."""

import json
import re
from types import SimpleNamespace

import yaml
from moto.awslambda.exceptions import LambdaClientError, UnknownFunctionException
from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Stack
from moto.iam.models import iam_backends
from moto.rds.models import rds_backends
from moto.s3.models import s3_backends
from translated import translated

# Code and description of the last version of each function. CloudFormation refuses to publish an unchanged function again.
PUBLISHED = {}


def publish_version(self, name, description="", publish=LambdaBackend.publish_version):
    function = self.get_function(name)
    PUBLISHED[function.function_name] = (function.code_sha_256, function.description)
    return publish(self, name, description)


# Deleted versions. moto would use their numbers again, but AWS uses a number only once.
DELETED = set()


def delete_function(self, name, qualifier=None, delete=LambdaBackend.delete_function):
    if qualifier is None:
        return delete(self, name)
    if any(alias.function_version == qualifier for alias in self.list_aliases(name)):
        raise LambdaClientError("ResourceConflictException", f"an alias of {name} references version {qualifier}")
    DELETED.add((name, qualifier))


def get_function(self, name, qualifier=None, get=LambdaBackend.get_function):
    if (name, qualifier) in DELETED:
        raise UnknownFunctionException(f"{name}:{qualifier}")
    return get(self, name, qualifier)


def list_versions(self, name, list_all=LambdaBackend.list_versions_by_function):
    return [version for version in list_all(self, name) if (name, str(version.version)) not in DELETED]


def settings(declared, given):
    """The values of a template's parameters."""
    values = {name: str(parameter["Default"]) for name, parameter in declared.items() if "Default" in parameter} | given
    if unknown := sorted(given.keys() - declared.keys()):
        raise ValidationError(message=f"Parameters: {unknown} do not exist in the template")
    if missing := sorted(declared.keys() - values.keys()):
        raise ValidationError(message=f"Parameters: {missing} must have values")
    for name, parameter in declared.items():
        value = str(values[name])
        if value not in map(str, parameter.get("AllowedValues", [value])):
            raise ValidationError(message=f"Parameter '{name}' must be one of AllowedValues")
        each = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
        if not all(re.fullmatch(parameter.get("AllowedPattern", ".*"), one) for one in each):
            raise ValidationError(message=f"Parameter '{name}' must match pattern {parameter['AllowedPattern']}")
        if "MinValue" in parameter and not parameter["MinValue"] <= int(value) <= parameter["MaxValue"]:
            raise ValidationError(message=f"Parameter '{name}' must be a number from {parameter['MinValue']} to {parameter['MaxValue']}")
    return values


class Resources:
    """The resources of a stack, by logical id."""

    def __init__(self, stack):
        self.stack = stack
        self.template = {"Resources": {}, "Outputs": {}}
        # For each resource: the value of `Ref`, and the properties of its last creation.
        self.names, self.made = {}, {}

    def become(self, template):
        before, self.template = self.template["Resources"], template
        # A function comes before its version, and a version before its alias.
        kinds = ["AWS::S3::Bucket", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Lambda::Version", "AWS::Lambda::Alias"]
        rank = {kind: place for place, kind in enumerate(kinds)}
        outdated = []
        for name, resource in sorted(template["Resources"].items(), key=lambda item: rank.get(item[1]["Type"], -1)):
            # The text of an alias does not change when its version changes, so the resolved properties are compared, too.
            properties = self.text(resource.get("Properties", {}))
            if before.get(name) != resource or self.made.get(name) != properties:
                # A version cannot be changed, so a new one replaces it. The policy says whether the old one is deleted.
                if name in before and resource["Type"] == "AWS::Lambda::Version" and before[name].get("UpdateReplacePolicy") != "Retain":
                    outdated.append(self.names[name])
                make = getattr(self, resource["Type"].split("::")[-1], self.note)
                self.names[name], self.made[name] = make(name, properties), properties
        removed = [name for name, resource in before.items() if name not in template["Resources"] and resource["Type"] == "AWS::Lambda::Version"]
        outdated += [self.names[name] for name in removed if before[name].get("DeletionPolicy") != "Retain"]
        # AWS also deletes after everything else.
        for version in outdated:
            self.lambdas.delete_function(*version.rsplit(":", 1))

    def text(self, node):
        """Resolves the references in a part of a template."""
        match node:
            case list():
                return [self.text(item) for item in node]
            case {"Ref": name}:
                return self.reference(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self.attribute(name, attribute)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([\w:]+)(?:\.([\w.]+))?\}", lambda found: self.attribute(*found.groups()), text)
            case dict():
                return {name: self.text(item) for name, item in node.items()}
        return node

    def reference(self, name):
        pseudo = {"AWS::StackName": self.stack.name, "AWS::Region": self.stack.region_name, "AWS::AccountId": self.stack.account_id}
        pseudo |= {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
        return pseudo.get(name) or self.names.get(name, f"{self.stack.name}-{name}")

    def attribute(self, name, attribute):
        reference = self.reference(name)
        kind = self.template["Resources"].get(name, {}).get("Type")
        match kind, attribute:
            case _, None:
                return reference
            case "AWS::Lambda::Version", "Version":
                return reference.rsplit(":", 1)[1]
            case "AWS::IAM::Role", "Arn":
                return f"arn:aws:iam::{self.stack.account_id}:role/{reference}"
        return f"{reference}.{attribute}"

    @property
    def lambdas(self):
        return lambda_backends[self.stack.account_id][self.stack.region_name]

    def note(self, name, properties):
        return f"{self.stack.name}-{name}"

    def Bucket(self, name, properties):
        bucket = self.note(name, properties).lower()
        s3_backends[self.stack.account_id]["aws"].create_bucket(bucket, self.stack.region_name)
        return bucket

    def Role(self, name, properties):
        role = self.note(name, properties)
        if name not in self.names:
            trust = json.dumps(properties["AssumeRolePolicyDocument"])
            iam_backends[self.stack.account_id]["aws"].create_role(role, trust, "/", None, "", [], None)
        return role

    @property
    def databases(self):
        return rds_backends[self.stack.account_id][self.stack.region_name]

    def DBSubnetGroup(self, name, properties):
        group = self.note(name, properties).lower()
        subnets = [SimpleNamespace(id=subnet, vpc_id="vpc", availability_zone="a") for subnet in properties["SubnetIds"]]
        self.databases.create_subnet_group(group, properties["DBSubnetGroupDescription"], subnets, [])
        return group

    def DBInstance(self, name, properties):
        database = self.note(name, properties).lower()
        if name not in self.names:
            self.databases.create_db_instance({
                "db_instance_identifier": database,
                "db_instance_class": properties["DBInstanceClass"],
                "allocated_storage": properties["AllocatedStorage"],
                "engine": properties["Engine"],
                "master_username": properties["MasterUsername"],
                "deletion_protection": properties["DeletionProtection"],
            })
        return database

    def Function(self, name, properties):
        function = properties["FunctionName"]
        # moto has no limit here.
        if len(properties.get("Description", "")) > 256:
            raise ValidationError(message=f"Value at 'description' failed to satisfy constraint: at most 256 characters: {function}")
        # Stand-in functions do not run, so they need no environment.
        properties = {name: value for name, value in properties.items() if name not in ("Environment", "VpcConfig", "LoggingConfig")}
        properties["Tags"] = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
        if name in self.names:
            existing = self.lambdas.get_function(function)
            existing.update_configuration(properties)
            existing.update_function_code(properties["Code"])
        else:
            self.lambdas.create_function(properties)
        return function

    def Version(self, name, properties):
        function = self.lambdas.get_function(properties["FunctionName"])
        if PUBLISHED.get(function.function_name) == (function.code_sha_256, function.description):
            raise ValidationError(message=f"A version for this Lambda function exists: {function.function_name}")
        version = self.lambdas.publish_version(properties["FunctionName"], properties.get("Description", ""))
        return f"{properties['FunctionName']}:{version.version}"

    def Alias(self, name, properties):
        function, version = properties["FunctionName"], properties["FunctionVersion"]
        change = self.lambdas.update_alias if name in self.names else self.lambdas.create_alias
        change(properties["Name"], function, version, properties.get("Description", ""), None)
        return f"{function}:{properties['Name']}"


def resources(stack):
    return stack.__dict__.setdefault("consists_of", Resources(stack))


def create_change_set(self, *args, create=CloudFormationBackend.create_change_set, **kwargs):
    stacks = dict(self.stacks)
    try:
        return create(self, *args, **kwargs)
    except ValidationError:
        # moto would keep the stack although its creation was refused.
        self.stacks = stacks
        raise


def parse_template(self):
    template = yaml.safe_load(self.template)
    self.settings = settings(template.get("Parameters", {}), self.parameters)
    self.template_dict = translated(template, self.settings)


def diff(self):
    before, after = resources(self.stack).template["Resources"], self.template_dict["Resources"]
    changes = {"Add": after.keys() - before, "Remove": before.keys() - after}
    changes["Modify"] = [name for name in after if name in before and before[name] != after[name]]
    return [Change(action, name, (after | before)[name]["Type"]) for action, names in changes.items() for name in sorted(names)]


def apply(self):
    resources(self.stack).become(self.template_dict)
    self.stack.settings, self.stack.tags = self.settings, self.tags


def stack_resources(self):
    for name, resource in resources(self).template["Resources"].items():
        physical = resources(self).names[name]
        yield SimpleNamespace(logical_resource_id=name, physical_resource_id=physical, cf_resource_type=resource["Type"])


def outputs(self):
    outputs = resources(self).template["Outputs"].items()
    said = [(name, resources(self).text(output["Value"]), output.get("Description")) for name, output in outputs]
    return [{"OutputKey": name, "OutputValue": value, "Description": what} for name, value, what in said] or None


def delete(self):
    for name, resource in resources(self).template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            resources(self).lambdas.delete_function(resources(self).names[name])
    self.status = "DELETE_COMPLETE"


def take_over():
    LambdaBackend.publish_version, LambdaBackend.delete_function = publish_version, delete_function
    LambdaBackend.get_function, LambdaBackend.list_versions_by_function = get_function, list_versions
    CloudFormationBackend.create_change_set = create_change_set
    ChangeSet._parse_template, ChangeSet.diff, ChangeSet.apply = parse_template, diff, apply
    Stack.stack_parameters, Stack.has_parameters = property(lambda self: self.settings), lambda self, given: given == self.settings
    Stack.stack_resources, Stack.outputs, Stack.delete = property(stack_resources), property(outputs), delete
