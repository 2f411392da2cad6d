"""What CloudFormation does with each type of resource. Resources that no rehearsal looks at get a name and nothing else."""

import json
import re
import secrets

from moto.awslambda.exceptions import LambdaClientError, UnknownFunctionException
from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.cloudformation.exceptions import ValidationError
from moto.core.exceptions import ServiceException
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.rds.models import rds_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

# Code and description of the last version of each function. CloudFormation refuses to publish a version with the same ones again.
PUBLISHED = {}

# Deleted versions. AWS never uses a version number again, but moto would.
DELETED = set()


def publish_version(self, name, description="", publish=LambdaBackend.publish_version):
    function = self.get_function(name)
    PUBLISHED[function.function_name] = (function.code_sha_256, function.description)
    return publish(self, name, description)


def delete_function(self, name, qualifier=None, delete=LambdaBackend.delete_function):
    if qualifier is None:
        PUBLISHED.pop(name, None)
        DELETED.difference_update([version for version in DELETED if version[0] == name])
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


LambdaBackend.publish_version, LambdaBackend.delete_function = publish_version, delete_function
LambdaBackend.get_function, LambdaBackend.list_versions_by_function = get_function, list_versions

# For each function's name, the ids of its subnets and security groups.
NETWORKS = {}


class Kind:
    """A type of resource. This base class only gives a resource a name; the subclasses below do more."""

    def __init__(self, stack):
        self.stack = stack

    def backend(self, backends):
        return backends[self.stack.account_id][self.stack.region_name]

    def new_name(self, name):
        return f"{self.stack.name}-{name}-{secrets.token_hex(4)}"

    def create(self, name, properties):
        """Creates a resource, and returns the value of its `Ref`."""
        return self.new_name(name)

    def change(self, physical, name, properties, before):
        """Changes a resource, and returns its `Ref`. Another value means that another resource replaces it."""
        return physical

    def delete(self, physical):
        pass

    def attribute(self, physical, attribute):
        return f"{physical}.{attribute}"


class Bucket(Kind):
    def create(self, name, properties):
        bucket = self.new_name(name).lower()
        s3_backends[self.stack.account_id]["aws"].create_bucket(bucket, self.stack.region_name)
        return bucket


class Role(Kind):
    def create(self, name, properties):
        trust = json.dumps(properties["AssumeRolePolicyDocument"])
        return iam_backends[self.stack.account_id]["aws"].create_role(self.new_name(name), trust, "/", None, "", [], None).name

    def delete(self, physical):
        iam_backends[self.stack.account_id]["aws"].delete_role(physical)

    def attribute(self, physical, attribute):
        return f"arn:aws:iam::{self.stack.account_id}:role/{physical}"


class LogGroup(Kind):
    def create(self, name, properties):
        group = properties.get("LogGroupName") or self.new_name(name)
        self.backend(logs_backends).create_log_group(group, {})
        return group

    def delete(self, physical):
        self.backend(logs_backends).delete_log_group(physical)


class Secret(Kind):
    def create(self, name, properties):
        secret = self.backend(secretsmanager_backends).create_secret(
            self.new_name(name), self.content(properties), None, properties["Description"], [], None, None, [], False
        )
        return json.loads(secret)["ARN"]

    def change(self, physical, name, properties, before):
        if properties["GenerateSecretString"] != before["GenerateSecretString"]:
            self.backend(secretsmanager_backends).put_secret_value(physical, self.content(properties), None, None, ["AWSCURRENT"])
        return physical

    def content(self, properties):
        generated = properties["GenerateSecretString"]
        value = secrets.token_hex(generated["PasswordLength"] // 2)
        return json.dumps(json.loads(generated["SecretStringTemplate"]) | {generated["GenerateStringKey"]: value})

    def delete(self, physical):
        self.backend(secretsmanager_backends).delete_secret(physical, None, False)


class Table(Kind):
    def create(self, name, properties):
        self.backend(dynamodb_backends).create_table(
            properties["TableName"],
            schema=properties["KeySchema"],
            throughput=None,
            attr=properties["AttributeDefinitions"],
            global_indexes=None,
            indexes=None,
            streams=None,
            billing_mode=properties["BillingMode"],
            sse_specification=None,
            tags=[],
            deletion_protection_enabled=properties["DeletionProtectionEnabled"],
            warm_throughput=None,
        )
        return properties["TableName"]

    def change(self, physical, name, properties, before):
        return physical if properties["TableName"] == physical else self.create(name, properties)

    def delete(self, physical):
        self.backend(dynamodb_backends).delete_table(physical)

    def attribute(self, physical, attribute):
        return f"arn:aws:dynamodb:{self.stack.region_name}:{self.stack.account_id}:table/{physical}"


class VPC(Kind):
    def create(self, name, properties):
        return self.backend(ec2_backends).create_vpc(properties["CidrBlock"]).id

    def delete(self, physical):
        self.backend(ec2_backends).delete_vpc(physical)


class InNetwork(Kind):
    """A part of a network. AWS does not delete it while something uses it."""

    def delete(self, physical):
        of_databases = {
            name: [*database.vpc_security_group_ids, *(subnet.id for subnet in database.db_subnet_group._subnets)]
            for name, database in self.backend(rds_backends).databases.items()
        }
        if users := sorted(user for user, network in (NETWORKS | of_databases).items() if physical in network):
            raise ServiceException("DependencyViolation", f"resource {physical} has a dependent object: a network interface of {users[0]}")


class Subnet(InNetwork):
    def create(self, name, properties):
        zone = properties["AvailabilityZone"]
        return self.backend(ec2_backends).create_subnet(properties["VpcId"], properties["CidrBlock"], availability_zone=zone).id

    def delete(self, physical):
        super().delete(physical)
        self.backend(ec2_backends).delete_subnet(physical)


class SecurityGroup(InNetwork):
    def create(self, name, properties):
        description, network = properties["GroupDescription"], properties["VpcId"]
        return self.backend(ec2_backends).create_security_group(self.new_name(name), description, network).id

    def delete(self, physical):
        super().delete(physical)
        self.backend(ec2_backends).delete_security_group(group_id=physical)


def check_unused(databases, group, group_of):
    if users := [name for name, database in databases.databases.items() if group_of(database) == group]:
        raise ServiceException("InvalidGroupState", f"The group {group} cannot be deleted: {users[0]} uses it")


class DBSubnetGroup(Kind):
    def create(self, name, properties):
        group, subnets = self.new_name(name).lower(), [self.backend(ec2_backends).get_subnet(subnet) for subnet in properties["SubnetIds"]]
        if len({subnet.availability_zone for subnet in subnets}) < 2:
            raise ServiceException("DBSubnetGroupDoesNotCoverEnoughAZs", "The DB subnet group must cover two availability zones")
        self.backend(rds_backends).create_subnet_group(group, properties["DBSubnetGroupDescription"], subnets, [])
        return group

    def delete(self, physical):
        check_unused(self.backend(rds_backends), physical, lambda database: database.db_subnet_group.name)
        self.backend(rds_backends).delete_subnet_group(physical)


class DBParameterGroup(Kind):
    def create(self, name, properties):
        group = {
            "db_parameter_group_name": self.new_name(name).lower(),
            "db_parameter_group_family": properties["Family"],
            "description": properties["Description"],
        }
        return self.backend(rds_backends).create_db_parameter_group(group).name

    def change(self, physical, name, properties, before):
        replaced = any(properties[one] != before[one] for one in ["Family", "Description"])
        return self.create(name, properties) if replaced else physical

    def delete(self, physical):
        check_unused(self.backend(rds_backends), physical, lambda database: database.db_parameter_group_name)
        self.backend(rds_backends).delete_db_parameter_group(physical)


class DBInstance(Kind):
    # Another value of one of these properties replaces the instance.
    REPLACING = ["DBSnapshotIdentifier", "DBName", "MasterUsername", "Engine", "DBSubnetGroupName"]

    def options(self, properties):
        databases = self.backend(rds_backends)
        group = properties["DBParameterGroupName"]
        family = databases.db_parameter_groups[group].family
        if family != f"postgres{properties['EngineVersion']}":
            raise ServiceException("InvalidParameterCombination", f"The parameter group {group} is for {family}")
        return {
            "db_instance_class": properties["DBInstanceClass"],
            "engine_version": properties["EngineVersion"],
            "multi_az": properties["MultiAZ"] == "true",
            "db_parameter_group_name": group,
            "deletion_protection": properties["DeletionProtection"],
        }

    def create(self, name, properties):
        databases, database = self.backend(rds_backends), self.new_name(name).lower()
        options = self.options(properties) | {
            "db_instance_identifier": database,
            "allocated_storage": properties["AllocatedStorage"],
            "engine": properties["Engine"],
            "db_subnet_group_name": properties["DBSubnetGroupName"],
            "vpc_security_group_ids": properties["VPCSecurityGroups"],
            "master_username": properties.get("MasterUsername", "postgres"),
            "db_name": properties.get("DBName", "auth"),
        }
        if snapshot := properties.get("DBSnapshotIdentifier"):
            source = databases.describe_db_snapshots(None, db_snapshot_identifier=snapshot)[0].database
            if source.engine_version != properties["EngineVersion"]:
                raise ServiceException("InvalidParameterCombination", f"The snapshot {snapshot} has the version {source.engine_version}")
        databases.create_db_instance(options).dbi_resource_id = f"db-{secrets.token_hex(13).upper()}"
        return database

    def change(self, physical, name, properties, before):
        if any(properties.get(one) != before.get(one) for one in self.REPLACING):
            return self.create(name, properties)
        now, wanted = before["EngineVersion"], properties["EngineVersion"]
        if int(wanted) < int(now):
            raise ServiceException("InvalidParameterCombination", f"Cannot upgrade postgres from {now} to {wanted}")
        self.backend(rds_backends).modify_db_instance(physical, self.options(properties))
        return physical

    def delete(self, physical):
        self.backend(rds_backends).delete_db_instance(physical, final_db_snapshot_identifier=f"{physical}-final")

    def attribute(self, physical, attribute):
        database = self.backend(rds_backends).databases[physical]
        return {"Endpoint.Address": database.address, "DbiResourceId": database.dbi_resource_id}[attribute]


class Function(Kind):
    # These properties are not passed to moto, because functions are not run. `settings` itself checks the network in `VpcConfig` and stores it.
    IGNORED = ("VpcConfig", "LoggingConfig")

    def settings(self, properties):
        function = properties["FunctionName"]
        # moto checks neither the length of a description nor whether a network exists.
        if len(properties.get("Description", "")) > 256:
            raise ValidationError(message=f"Value at 'description' failed to satisfy constraint: at most 256 characters: {function}")
        network = properties.get("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []})
        for subnet in network["SubnetIds"]:
            self.backend(ec2_backends).get_subnet(subnet)
        for group in network["SecurityGroupIds"]:
            if self.backend(ec2_backends).get_security_group_from_id(group) is None:
                raise LambdaClientError("InvalidParameterValueException", f"The security group {group} does not exist")
        NETWORKS[function] = network["SubnetIds"] + network["SecurityGroupIds"]
        properties = {name: value for name, value in properties.items() if name not in self.IGNORED}
        return properties | {"Tags": {tag["Key"]: tag["Value"] for tag in properties["Tags"]}}

    def create(self, name, properties):
        function, settings = properties["FunctionName"], self.settings(properties)
        if any(existing.function_name == function for existing in self.backend(lambda_backends).list_functions()):
            raise LambdaClientError("ResourceConflictException", f"Function already exist: {function}")
        self.backend(lambda_backends).create_function(settings)
        return function

    def change(self, physical, name, properties, before):
        function = self.backend(lambda_backends).get_function(physical)
        function.update_configuration(self.settings(properties))
        function.update_function_code(properties["Code"])
        return physical

    def delete(self, physical):
        NETWORKS.pop(physical, None)
        self.backend(lambda_backends).delete_function(physical)


class Version(Kind):
    def create(self, name, properties):
        function = self.backend(lambda_backends).get_function(properties["FunctionName"])
        if PUBLISHED.get(function.function_name) == (function.code_sha_256, function.description):
            raise ValidationError(message=f"A version for this Lambda function exists: {function.function_name}")
        version = self.backend(lambda_backends).publish_version(function.function_name, properties.get("Description", ""))
        return f"{function.function_name}:{version.version}"

    def change(self, physical, name, properties, before):
        return self.create(name, properties)

    def delete(self, physical):
        self.backend(lambda_backends).delete_function(*physical.rsplit(":", 1))

    def attribute(self, physical, attribute):
        return physical.rsplit(":", 1)[1]


class Alias(Kind):
    def create(self, name, properties):
        return self.point(self.backend(lambda_backends).create_alias, properties)

    def change(self, physical, name, properties, before):
        return self.point(self.backend(lambda_backends).update_alias, properties)

    def point(self, operation, properties):
        function, name = properties["FunctionName"], properties["Name"]
        operation(name, function, properties["FunctionVersion"], properties.get("Description", ""), None)
        return f"{function}:{name}"

    def delete(self, physical):
        function, name = physical.rsplit(":", 1)
        self.backend(lambda_backends).delete_alias(name, function)


KINDS = [Bucket, Role, LogGroup, Secret, Table, VPC, Subnet, SecurityGroup, DBSubnetGroup, DBParameterGroup, DBInstance, Function, Version, Alias]


def kind(stack, resource_type):
    """What CloudFormation does with this type of resource in a stack."""
    service, name = resource_type.split("::")[1:]
    known = {known.__name__: known for known in KINDS}
    return known.get(name, Kind)(stack)


def check_secrets(stack, properties):
    """Refuses references to secrets that do not exist, or that lack the given key, as CloudFormation does."""
    for reference in re.findall(r"\{\{resolve:secretsmanager:(.+?)\}\}", json.dumps(properties)):
        name, _, key = reference.partition(":SecretString:")
        secret = secretsmanager_backends[stack.account_id][stack.region_name].get_secret_value(name, None, None)
        if key and key not in json.loads(secret["SecretString"]):
            raise ValidationError(message=f"Could not find a value associated with JSONKey in SecretString: {key} of {name}")
