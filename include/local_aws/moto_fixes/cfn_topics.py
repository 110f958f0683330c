"""Cure: moto's CloudFormation knows no AWS::SNS::TopicPolicy, and an update of a topic loses its subscriptions.

See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sns-topicpolicy.html.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from moto.core.common_models import CloudFormationModel
from moto.sns.models import SNSBackend, Topic, sns_backends

from local_aws.moto_fixes.cfn_models import AddedType
from local_aws.moto_fixes.cfn_properties import refuse_unserved, same_name

_TYPE: Final = "AWS::SNS::TopicPolicy"
_TOPIC: Final = "AWS::SNS::Topic"
_TOPIC_SERVED: Final = frozenset({"DisplayName", "Subscription", "TopicName"})
_MARK: Final = "_local_aws_cfn_topics"


class TopicPolicy(AddedType, CloudFormationModel):
    """AWS::SNS::TopicPolicy: one policy for some topics."""

    TYPE = _TYPE

    def __init__(self, resource_name: str, topics: Iterable[str]) -> None:
        self.name = resource_name
        self.topics = tuple(topics)

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "TopicPolicy":
        properties = cloudformation_json["Properties"]
        refuse_unserved(_TYPE, properties, {"PolicyDocument", "Topics"})
        # YAML reads an unquoted 2012-10-17 as a date.
        document = json.dumps(properties["PolicyDocument"], default=str)
        backend = sns_backends[account_id][region_name]
        for arn in properties["Topics"]:
            backend.get_topic(arn).policy = document
        return cls(resource_name, properties["Topics"])

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "TopicPolicy",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "TopicPolicy":
        backend = sns_backends[account_id][region_name]
        _take_away(backend, set(original_resource.topics) - set(cloudformation_json["Properties"]["Topics"]))
        return cls.create_from_cloudformation_json(original_resource.name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        """Give the topics their first policy back; those that are gone already need none."""
        _take_away(sns_backends[account_id][region_name], self.topics)

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        _take_away(sns_backends[account_id][region_name], cloudformation_json["Properties"]["Topics"])


def install() -> None:
    """Update topics in place; `TopicPolicy` is known once this is imported. Safe to call twice."""
    if hasattr(Topic.update_from_cloudformation_json, _MARK):
        return
    stock_create = Topic.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]
    stock_update = Topic.update_from_cloudformation_json.__func__  # type: ignore[attr-defined]

    def create(
        cls: type[Topic], /, resource_name: str, cloudformation_json: dict[str, Any], *where: Any, **more: Any
    ) -> Topic:
        refuse_unserved(_TOPIC, cloudformation_json.get("Properties", {}), _TOPIC_SERVED)
        with_properties = {"Properties": {}, **cloudformation_json}
        topic: Topic = stock_create(cls, resource_name, with_properties, *where, **more)
        return topic

    def update(
        cls: type[Topic],
        /,
        original_resource: Topic,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Topic:
        properties = cloudformation_json.get("Properties", {})
        refuse_unserved(_TOPIC, properties, _TOPIC_SERVED)
        if same_name(properties.get("TopicName"), original_resource.name) and "Subscription" not in properties:
            original_resource.display_name = properties.get("DisplayName", "")
            return original_resource
        updated: Topic = stock_update(
            cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
        )
        return updated

    setattr(update, _MARK, True)
    Topic.create_from_cloudformation_json = classmethod(create)  # type: ignore[assignment]
    Topic.update_from_cloudformation_json = classmethod(update)  # type: ignore[assignment]


def _take_away(backend: SNSBackend, topics: Iterable[str]) -> None:
    for arn in topics:
        topic = backend.topics.get(arn)
        if topic is not None:
            topic._policy_json = topic._create_default_topic_policy(backend.region_name, backend.account_id, topic.name)
