import json
from typing import Any

import boto3
import orjson
import pytest
from moto import mock_aws

from dynamodb_bulk.fingerprint import take_fingerprint
from dynamodb_bulk.transport import ClientTransport
from dynamodb_bulk.wire import open_transport

BODY = b'{"RequestItems":{"orders":[]}}'
GOOD = b'{"UnprocessedItems":{}}'


def test_an_object_with_a_clients_methods_is_a_transport_too() -> None:
    class Cache:
        def batch_write_item(self, **request: Any) -> Any:
            self.request = request
            return {"UnprocessedItems": {}, "ResponseMetadata": {"HTTPHeaders": object()}}

    cache = Cache()
    transport = open_transport(cache)
    assert isinstance(transport, ClientTransport)
    assert transport.attempt("BatchWriteItem", BODY) == GOOD
    assert cache.request == orjson.loads(BODY)
    transport.close()


class Cache:
    """A client that is none of botocore's, as DAX's is not: it takes and gives bytes where the wire has base64."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.answer = answer or {}
        self.requests: list[dict[str, Any]] = []

    def put_item(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        return self.answer


@pytest.mark.parametrize(
    ("wire", "client"),
    [
        ({"B": "AAH/"}, {"B": b"\x00\x01\xff"}),
        ({"B": ""}, {"B": b""}),
        ({"BS": ["AQ==", "Ag=="]}, {"BS": [b"\x01", b"\x02"]}),
        ({"L": [{"B": "AQ=="}, {"S": "AQ=="}]}, {"L": [{"B": b"\x01"}, {"S": "AQ=="}]}),
        ({"M": {"B": {"B": "AQ=="}}}, {"M": {"B": {"B": b"\x01"}}}),
        ({"M": {"BS": {"S": "AQ=="}}}, {"M": {"BS": {"S": "AQ=="}}}),
        ({"M": {"B": {"S": "AQ=="}}}, {"M": {"B": {"S": "AQ=="}}}),
        ({"S": "B"}, {"S": "B"}),
    ],
)
def test_binary_goes_to_a_client_as_bytes_and_comes_back_as_base64(wire: Any, client: Any) -> None:
    cache = Cache({"Attributes": {"k": client}})
    body = json.dumps({"TableName": "orders", "Item": {"k": wire}}).encode()
    answer = ClientTransport(cache).attempt("PutItem", body)
    assert cache.requests == [{"TableName": "orders", "Item": {"k": client}}]
    assert orjson.loads(answer) == {"Attributes": {"k": wire}}


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError):
        ClientTransport(Cache({"Attributes": {"k": object()}})).attempt("PutItem", b"{}")


class Adapted:
    """botocore's client, passed off as something else."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_table_has_the_same_fingerprint_through_either_transport() -> None:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        put = b'{"TableName":"orders","Item":{"k":{"S":"AAH/"},"b":{"B":"AAH/"},"set":{"BS":["AQ==","Ag=="]}}}'
        open_transport(Adapted(client)).attempt("PutItem", put)
        assert client.scan(TableName="orders")["Items"][0]["b"] == {"B": b"\x00\x01\xff"}
        adapted: Any = Adapted(client)
        found = [take_fingerprint(one, "orders", key_names=["k"]) for one in (client, adapted)]
    assert found[0].item_count == 1
    assert found[0] == found[1]
