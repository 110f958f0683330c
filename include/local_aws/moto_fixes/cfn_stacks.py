"""Cure: moto's CloudFormation is green whatever happens, or fails in a way that AWS never does.

- a resource type it does not know gives CREATE_COMPLETE and a nameless row: AWS refuses the template;
- an update without change is accepted, or refused, by the letters of the template: AWS compares what it
  means;
- a failed creation, update or deletion is an error of the API call, and the stack is gone or half made: AWS
  accepts the call, undoes what it can, and the stack ends ROLLBACK_COMPLETE, UPDATE_ROLLBACK_COMPLETE or
  DELETE_FAILED;
- a changed parameter reaches only resources that name it in a plain Ref, not in Fn::Sub;
- a resource that moto cannot update is lost from the stack.

See
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes.

moto's CloudFormation package takes a second and 150 MB to load; nothing here loads it before it is used.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from moto.core.exceptions import ServiceException
from moto.core.responses import BaseResponse

from local_aws.moto_fixes import cfn_deletion

_RESPONSES: Final = "moto.cloudformation.responses"
_MARK: Final = "_local_aws_cfn_stacks"


class TemplateError(ServiceException):
    """CloudFormation's answer to a template or an update that it cannot take."""

    code = "ValidationError"


def install() -> None:
    """Mend moto's stacks as soon as moto's CloudFormation is loaded. Safe to call twice."""
    if _RESPONSES in sys.modules:
        _mend(sys.modules[_RESPONSES].CloudFormationResponse)
    elif not hasattr(BaseResponse.__init_subclass__, _MARK):
        # The response class is the last thing that loading moto's CloudFormation defines.
        stock = BaseResponse.__init_subclass__

        def init_subclass(cls: type[BaseResponse], /, **kwargs: Any) -> None:
            stock(**kwargs)
            if cls.__module__ == _RESPONSES and cls.__name__ == "CloudFormationResponse":
                _mend(cls)

        setattr(init_subclass, _MARK, True)
        BaseResponse.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment]


def _mend(response: Any) -> None:
    from moto.cloudformation import models, parsing

    for cache in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        cache.cache_clear()
    if hasattr(response._validate_different_update, _MARK):
        return
    _refuse_unknown_types(parsing)
    cfn_deletion.install(parsing)
    _keep_what_cannot_be_updated(parsing)
    _reach_every_reference(parsing)
    _compare_updates(response)
    _end_as_aws_does(models, parsing)


def _refuse_unknown_types(parsing: Any) -> None:
    stock = parsing.ResourceMap.load

    @wraps(stock)
    def load(self: Any) -> None:
        _check_types(parsing, self._resource_json_map)
        stock(self)

    parsing.ResourceMap.load = load


def _check_types(parsing: Any, resources: Mapping[str, Any]) -> None:
    known = {*parsing.get_model_map(), *parsing.NULL_MODELS}
    types = {resource["Type"] for resource in resources.values()}
    unknown = sorted(name for name in types - known if not name.startswith("Custom::"))
    if unknown:
        raise TemplateError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")


def _keep_what_cannot_be_updated(parsing: Any) -> None:
    stock = parsing.parse_and_update_resource

    @wraps(stock)
    def parse_and_update_resource(logical_id: str, resource_json: Any, resources_map: Any, **where: str) -> Any:
        return stock(logical_id, resource_json, resources_map, **where) or resources_map[logical_id]

    parsing.parse_and_update_resource = parse_and_update_resource


def _reach_every_reference(parsing: Any) -> None:
    stock = parsing.ResourceMap.build_resource_diff

    @wraps(stock)
    def build_resource_diff(
        self: Any, other_template: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> Any:
        difference = stock(self, other_template, parameters)
        surroundings = ("Parameters", "Mappings", "Conditions")
        if (parameters or {}) != (self.input_parameters or {}) or any(
            other_template.get(part) != self._template.get(part) for part in surroundings
        ):
            in_both = [name for name in other_template["Resources"] if name in self._resource_json_map]
            difference["Modify"] = in_both
        return difference

    parsing.ResourceMap.build_resource_diff = build_resource_diff


def _compare_updates(response: Any) -> None:
    def validate_different_update(
        self: Any, incoming_params: list[dict[str, Any]] | None, stack_body: str, old_stack: Any
    ) -> None:
        template = old_stack.parse_template(stack_body)
        parameters = _parameters_after(template, incoming_params or [], old_stack.stack_parameters)
        tags = {tag["Key"]: tag["Value"] for tag in self._get_param("Tags", [])}
        if (
            old_stack.has_template(stack_body)
            and parameters == _as_text(old_stack.stack_parameters)
            and (not tags or tags == old_stack.tags)
            and old_stack.status != "UPDATE_ROLLBACK_FAILED"
        ):
            raise TemplateError("No updates are to be performed.")

    setattr(validate_different_update, _MARK, True)
    response._validate_different_update = validate_different_update


def _parameters_after(
    template: Mapping[str, Any], incoming: list[dict[str, Any]], before: Mapping[str, Any]
) -> dict[str, str]:
    after = {name: declared.get("Default") for name, declared in template.get("Parameters", {}).items()}
    for parameter in incoming:
        name = parameter["ParameterKey"]
        after[name] = before.get(name) if parameter.get("UsePreviousValue") else parameter.get("ParameterValue")
    return _as_text(after)


def _as_text(parameters: Mapping[str, Any]) -> dict[str, str]:
    # moto turns Number parameters into numbers and YAML gives defaults their own types; AWS compares text.
    return {name: str(value) for name, value in parameters.items()}


def _end_as_aws_does(models: Any, parsing: Any) -> None:
    stack, backend = models.Stack, models.CloudFormationBackend
    stack.create_resources = _creation(stack.create_resources)
    stack.update = _update(stack.update, parsing)
    stack.delete = _deletion(stack.delete)
    backend.delete_stack = _kept_when_deletion_failed(backend.delete_stack)
    backend._resolve_update_parameters = _resolve_update_parameters


def _resolve_update_parameters(_backend: Any, instance: Any, incoming_params: list[dict[str, Any]]) -> dict[str, Any]:
    # moto does not know the previous value of a parameter that stands at its default.
    previous = {**getattr(instance, "stack_parameters", {}), **instance.parameters}
    return {
        parameter["ParameterKey"]: previous[parameter["ParameterKey"]]
        if parameter.get("UsePreviousValue")
        else parameter["ParameterValue"]
        for parameter in incoming_params
    }


def _creation(stock: Callable[..., None]) -> Callable[..., None]:
    @wraps(stock)
    def create_resources(self: Any) -> None:
        try:
            stock(self)
        except Exception as error:
            self._add_stack_event("ROLLBACK_IN_PROGRESS", resource_status_reason=_reason("create", error))
            self.status = _undo(self, self.resource_map.delete, "ROLLBACK")
            # moto works outputs out when asked, and would make the resources anew for that.
            self.output_map = type(self.output_map)(self.resource_map, {"Outputs": {}}, self.stack_id)
            self.stack_status_reason = _reason("create", error)

    return create_resources


def _update(stock: Callable[..., None], parsing: Any) -> Callable[..., None]:
    @wraps(stock)
    def update(self: Any, template: str, *args: Any, **kwargs: Any) -> None:
        _check_types(parsing, self.parse_template(template)["Resources"])
        before = (self.template, self.template_dict, dict(self.resource_map.input_parameters))
        try:
            stock(self, template, *args, **kwargs)
        except Exception as error:
            reason = _reason("update", error)
            self._add_stack_event("UPDATE_ROLLBACK_IN_PROGRESS", resource_status_reason=reason)
            self.template, self.template_dict, parameters = before
            self.status = _undo(
                self, lambda: self.resource_map.update(self.template_dict, parameters), "UPDATE_ROLLBACK"
            )
            self.output_map = self._create_output_map()
            self.stack_status_reason = reason

    return update


def _undo(stack: Any, undo: Callable[[], None], status: str) -> str:
    try:
        undo()
    except Exception as error:
        stack._add_stack_event(f"{status}_FAILED", resource_status_reason=str(error))
        return f"{status}_FAILED"
    stack._add_stack_event(f"{status}_COMPLETE")
    return f"{status}_COMPLETE"


def _deletion(stock: Callable[..., None]) -> Callable[..., None]:
    @wraps(stock)
    def delete(self: Any) -> None:
        try:
            stock(self)
        except Exception as error:
            self.status = "DELETE_FAILED"
            self.stack_status_reason = _reason("delete", error)
            self._add_stack_event("DELETE_FAILED", resource_status_reason=self.stack_status_reason)
            self.output_map = type(self.output_map)(self.resource_map, {"Outputs": {}}, self.stack_id)

    return delete


def _kept_when_deletion_failed(stock: Callable[..., None]) -> Callable[..., None]:
    @wraps(stock)
    def delete_stack(self: Any, name_or_stack_id: str) -> None:
        stock(self, name_or_stack_id)
        stack = self.deleted_stacks.get(name_or_stack_id)
        if stack is not None and stack.status == "DELETE_FAILED":
            self.stacks[stack.stack_id] = self.deleted_stacks.pop(stack.stack_id)
            self.exports.update((export.name, export) for export in stack.exports)

    return delete_stack


def _reason(what: str, error: Exception) -> str:
    return f"The following resource(s) failed to {what}: {error}"
