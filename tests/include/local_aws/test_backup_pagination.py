import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.backup.exceptions import InvalidParameterValueException
from local_aws.backup.pagination import paginate


def number(item):
    return item


@given(items=st.sets(st.integers()), size=st.integers(1, 1000))
def test_pages_put_together_are_the_list(items, size):
    token, read = None, []
    while True:
        page, token = paginate("List", items, number, max_results=size, next_token=token)
        assert len(page) <= size
        read += page
        if token is None:
            break
        assert len(page) == size
    assert read == sorted(items)


def test_what_comes_or_goes_between_pages_moves_nothing_else():
    _, token = paginate("List", [1, 2, 3, 4], number, max_results=2, next_token=None)
    page, _ = paginate("List", [0, 1, 3, 4], number, max_results=2, next_token=token)
    assert page == [3, 4]


@pytest.mark.parametrize("size", [0, -1, 1001])
def test_page_sizes_out_of_bounds(size):
    with pytest.raises(InvalidParameterValueException, match="MaxResults"):
        paginate("List", [1], number, max_results=size, next_token=None)


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "",
        "%%%",
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b'["List"]').decode(),
        base64.urlsafe_b64encode(b'["List", true]').decode(),
        base64.urlsafe_b64encode(b'["List", "text"]').decode(),
        base64.urlsafe_b64encode(b'["Other", 1]').decode(),
        "ünïcode",
    ],
)
def test_tokens_that_no_page_gave(token):
    with pytest.raises(InvalidParameterValueException, match="NextToken"):
        paginate("List", [1, 2], number, max_results=1, next_token=token)


def test_a_token_of_another_list_is_refused_by_the_service(aws, refused):
    for name in ("vault-1", "vault-2"):
        aws.backup.create_backup_vault(BackupVaultName=name)
    token = aws.backup.list_backup_vaults(MaxResults=1)["NextToken"]
    with refused("InvalidParameterValueException", "NextToken"):
        aws.backup.list_backup_jobs(NextToken=token)


def test_a_page_size_out_of_bounds_is_refused_by_the_service(aws, refused):
    with refused("InvalidParameterValueException", "MaxResults"):
        aws.backup.list_backup_jobs(MaxResults=5000)
