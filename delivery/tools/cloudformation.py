"""A CloudFormation for rehearsals, instead of moto's own. It translates templates as AWS does, refuses what AWS would refuse, and creates
resources in the order of their references. If one cannot be created, it rolls back."""

import graphlib
import json
import re
from types import SimpleNamespace

import yaml
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack
from moto.core.exceptions import ServiceException, _RESTError
from moto.core.utils import utcnow
from stack_parameters import settings
from stack_resources import check_secrets, kind
from translated import translated

# What the API of a service raises when it refuses a request.
REFUSED = (ServiceException, _RESTError)

NOTHING = {"Resources": {}, "Outputs": {}}


def references(node):
    """The names of the resources that a part of a template refers to."""
    match node:
        case list():
            return {name for item in node for name in references(item)}
        case {"Ref": name}:
            return {name}
        case {"Fn::GetAtt": [name, *_]}:
            return {name}
        case {"Fn::Sub": [text, values]}:
            return references(values) | (references({"Fn::Sub": text}) - values.keys())
        case {"Fn::Sub": text}:
            return set(re.findall(r"\$\{(\w+)[.\w]*\}", text))
        case dict():
            depends_on = node.get("DependsOn", []) if "Type" in node else []
            return references(list(node.values())) | {*([depends_on] if isinstance(depends_on, str) else depends_on)}
    return set()


def creation_order(resources, existing=()):
    """The names of resources, each after those that it refers to. AWS works in parallel. Here, existing resources come before
    new ones, so that a rollback after a failed creation has as many changes as possible to undo."""
    graph = {name: {one for one in references(resource) if not one.startswith("AWS::")} for name, resource in resources.items()}
    if unknown := sorted({one for needed in graph.values() for one in needed} - resources.keys()):
        raise ValidationError(message=f"Template format error: Unresolved resource dependencies {unknown} in the Resources block")
    sorter, ready, order = graphlib.TopologicalSorter(graph), set(), []
    try:
        sorter.prepare()
    except graphlib.CycleError as cycle:
        raise ValidationError(message=f"Circular dependency between resources: {cycle.args[1]}") from cycle
    while sorter.is_active():
        ready.update(sorter.get_ready())
        order.append(min(ready, key=lambda name: (name not in existing, name)))
        ready.remove(order[-1])
        sorter.done(order[-1])
    return order


class Failure(Exception):
    """A resource could not be created, changed or deleted. After a rollback, the message is `ROLLBACK_COMPLETE` or `ROLLBACK_FAILED`. This is the
    stack's status after a failed creation. After a failed update, the status has `UPDATE_` in front of it."""


class Resources:
    """The resources of a stack, by logical ids."""

    def __init__(self, stack):
        self.stack, self.template, self.outputs = stack, NOTHING, None
        # The value of `Ref` for each resource, and its properties.
        self.names, self.made = {}, {}

    def become(self, template):
        """Creates and changes what the template requires, and deletes the rest. If that fails, restores the former resources."""
        before, names, made = self.template, dict(self.names), dict(self.made)
        self.template = template
        done = []
        try:
            for name in creation_order(template["Resources"], names):
                done.append(name)
                self.make(name, template["Resources"][name])
        except REFUSED as problem:
            self.event(done[-1], template, "UPDATE_FAILED" if done[-1] in names else "CREATE_FAILED", problem)
            raise Failure(self.roll_back(done, template, before, names, made)) from problem
        # AWS deletes after everything else. It ignores what it cannot delete then.
        for name in reversed(creation_order(before["Resources"])):
            policy = "UpdateReplacePolicy" if name in template["Resources"] else "DeletionPolicy"
            if self.names.get(name) != names[name] or name not in template["Resources"]:
                self.try_to_delete(name, names[name], before, policy)
        for name in names.keys() - template["Resources"]:
            del self.names[name], self.made[name]
        self.outputs = [
            {"OutputKey": name, "OutputValue": self.text(output["Value"]), "Description": output.get("Description")}
            for name, output in template["Outputs"].items()
        ]

    def make(self, name, resource):
        properties, what = self.text(resource.get("Properties", {})), kind(self.stack, resource["Type"])
        # The template text of an alias stays the same when its version changes, so resolved properties are compared.
        if name in self.made and self.made[name] == properties:
            return
        check_secrets(self.stack, properties)
        if name in self.names:
            self.names[name] = what.change(self.names[name], name, properties, self.made[name])
        else:
            self.names[name] = what.create(name, properties)
        self.made[name] = properties

    def roll_back(self, done, template, before, names, made):
        failed = False
        for name in reversed(done):
            what = kind(self.stack, template["Resources"][name]["Type"])
            if name in names and self.names[name] == names[name] and self.made[name] != made[name]:
                what.change(names[name], name, made[name], self.made[name])
            elif self.names.get(name) != names.get(name):
                # `RetainExceptOnCreate` retains nothing here.
                failed |= not self.try_to_delete(name, self.names[name], template, "DeletionPolicy")
        self.template, self.names, self.made = before, names, made
        return "ROLLBACK_FAILED" if failed else "ROLLBACK_COMPLETE"

    def try_to_delete(self, name, physical, template, policy):
        """Deletes a resource unless its policy retains it. Returns whether this succeeded."""
        if template["Resources"][name].get(policy) == "Retain":
            return True
        try:
            self.delete(name, physical, template)
        except Failure:
            return False
        return True

    def delete(self, name, physical, template):
        try:
            kind(self.stack, template["Resources"][name]["Type"]).delete(physical)
        except REFUSED as problem:
            self.event(name, template, "DELETE_FAILED", problem)
            raise Failure from problem

    def delete_all(self):
        """Deletes the resources of a stack, except for those that are retained."""
        for name in reversed(creation_order(self.template["Resources"])):
            if name in self.names:
                if not self.template["Resources"][name].get("DeletionPolicy", "").startswith("Retain"):
                    self.delete(name, self.names[name], self.template)
                del self.names[name], self.made[name]

    def event(self, name, template, status, problem):
        stack, resource_type = self.stack, template["Resources"][name]["Type"]
        reason = getattr(problem, "message", None) or str(problem)
        stack.events.append(Event(stack.stack_id, stack.name, name, self.names.get(name, ""), resource_type, status, reason, None))

    def text(self, node):
        """A part of a template with its references replaced by values."""
        match node:
            case list():
                return [self.text(item) for item in node]
            case {"Ref": name}:
                return self.reference(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self.attribute(name, attribute)
            case {"Fn::Sub": [text, values]}:
                given = self.text(values)
                return self.text({"Fn::Sub": re.sub(r"\$\{(\w+)\}", lambda found: given.get(found[1], found[0]), text)})
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([\w:]+)(?:\.([\w.]+))?\}", lambda found: self.attribute(*found.groups()), text)
            case dict():
                return {name: self.text(item) for name, item in node.items()}
        return node

    def reference(self, name):
        pseudo = {"AWS::StackName": self.stack.name, "AWS::Region": self.stack.region_name, "AWS::AccountId": self.stack.account_id}
        pseudo |= {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
        return pseudo.get(name) or self.names[name]

    def attribute(self, name, attribute):
        if attribute is None:
            return self.reference(name)
        return kind(self.stack, self.template["Resources"][name]["Type"]).attribute(self.reference(name), attribute)


def resources(stack):
    return stack.__dict__.setdefault("resources_of_rehearsal", Resources(stack))


def create_change_set(self, *args, create=CloudFormationBackend.create_change_set, **kwargs):
    stacks = dict(self.stacks)
    for stack in stacks.values():
        if stack.name == kwargs["stack_name"] and stack.status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
            raise ValidationError(message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")
    try:
        name, stack_id = create(self, *args, **kwargs)
    except ValidationError:
        # moto would keep the stack that could not be created.
        self.stacks = stacks
        raise
    change_set = self.change_sets[name]
    if change_set.tags != change_set.stack.tags:
        change_set.status, change_set.execution_status = "CREATE_COMPLETE", "AVAILABLE"
    return name, stack_id


def parse_template(self):
    template = yaml.load(self.template, Loader=yaml.CSafeLoader)
    self.settings = settings(template, self.parameters)
    # YAML has dates, which JSON does not have.
    self.template_dict = translated(json.dumps(template, default=str), self.settings)
    creation_order(self.template_dict["Resources"])


def diff(self):
    before, after = resources(self.stack).template["Resources"], self.template_dict["Resources"]
    changes = {"Add": after.keys() - before, "Remove": before.keys() - after}
    changes["Modify"] = [name for name in after if name in before and before[name] != after[name]]
    return [Change(action, name, (after | before)[name]["Type"]) for action, names in changes.items() for name in sorted(names)]


def execute_change_set(self, change_set_name, stack_name=None):
    change_set = self.describe_change_set(change_set_name)
    stack, what = change_set.stack, change_set.change_set_type
    stack._add_stack_event(f"{what}_IN_PROGRESS", resource_status_reason="User Initiated")
    stack.last_updated_time = utcnow()
    stack.settings = stack.__dict__.get("settings", change_set.settings)
    try:
        resources(stack).become(change_set.template_dict)
        stack.status = f"{what}_COMPLETE"
        stack.settings, stack.tags, stack.template = change_set.settings, change_set.tags, change_set.template
    except Failure as failure:
        stack.status = f"UPDATE_{failure}" if what == "UPDATE" else str(failure)
    stack._add_stack_event(stack.status)
    change_set.execution_status = "EXECUTE_COMPLETE"


def delete_stack(self, name_or_stack_id):
    for stack in [stack for stack in self.stacks.values() if name_or_stack_id in (stack.name, stack.stack_id)]:
        stack._add_stack_event("DELETE_IN_PROGRESS", resource_status_reason="User Initiated")
        try:
            resources(stack).delete_all()
            stack.status = "DELETE_COMPLETE"
            self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)
        except Failure:
            stack.status = "DELETE_FAILED"
        stack._add_stack_event(stack.status)


def stack_resources(self):
    for name, physical in resources(self).names.items():
        resource = resources(self).template["Resources"][name]
        yield SimpleNamespace(logical_resource_id=name, physical_resource_id=physical, cf_resource_type=resource["Type"])


def parameter_list(self):
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in self.__dict__.get("settings", {}).items()]


def replace_motos_own():
    # Parsing templates in Python takes most of moto's time. libyaml is many times as fast.
    yaml.Loader = yaml.CLoader
    CloudFormationBackend.create_change_set, CloudFormationBackend.execute_change_set = create_change_set, execute_change_set
    CloudFormationBackend.delete_stack = delete_stack
    ChangeSet._parse_template, ChangeSet.diff = parse_template, diff
    Stack.stack_parameters, Stack.has_parameters = property(lambda self: self.settings), lambda self, given: given == self.settings
    # moto would parse both templates.
    Stack.has_template = lambda self, given: given == self.template
    Stack.stack_resources, Stack.outputs = property(stack_resources), property(lambda self: resources(self).outputs)
    Stack.parameter_list = property(parameter_list)
