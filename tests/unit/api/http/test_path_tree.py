"""Paths find their routes, whatever is in them."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.api.http.path_tree import PathTree, split_path
from dstore.api.http.route import Route
from dstore.model.errors import RefusalKind, Refused

PATHS = {
    ("GET", "/"): "root",
    ("GET", "/v1/tenant"): "tenants",
    ("GET", "/v1/tenant/{tenant}"): "tenant",
    ("PUT", "/v1/tenant/{name}"): "put_tenant",
    ("GET", "/v1/tenant/{tenant}/table/{table}"): "table",
    ("GET", "/v1/tenant/special/other"): "special",
    ("GET", "/v1/{anything}/x"): "anything",
}


def look_up(path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    """Find an endpoint with its values."""
    segments = split_path(path)
    found = PathTree(PATHS).find(segments)
    if found is None or method not in found.methods:
        return None
    endpoint, places = found.methods[method]
    return endpoint, {name: segments[index] for name, index in places}


@pytest.mark.parametrize(
    ("path", "endpoint", "values"),
    [
        ("/", "root", {}),
        ("/v1/tenant", "tenants", {}),
        ("/v1/tenant/acme", "tenant", {"tenant": "acme"}),
        ("/v1/tenant/table", "tenant", {"tenant": "table"}),
        ("/v1/tenant/a%2Fb", "tenant", {"tenant": "a/b"}),
        ("/v1/ten%61nt/a", "tenant", {"tenant": "a"}),
        ("/v1/tenant/%E2%82%AC", "tenant", {"tenant": "€"}),
        ("/v1/tenant/..", "tenant", {"tenant": ".."}),
        ("/v1/tenant/a+b", "tenant", {"tenant": "a+b"}),
        ("/v1/tenant/special/other", "special", {}),
        ("/v1/tenant/special", "tenant", {"tenant": "special"}),
        ("/v1/tenant/special/table/t", "table", {"tenant": "special", "table": "t"}),
        ("/v1/tenant/x", "tenant", {"tenant": "x"}),
        ("/v1/y/x", "anything", {"anything": "y"}),
    ],
)
def test_path_finds_its_endpoint(path: str, endpoint: str, values: dict[str, str]) -> None:
    """Literals win, and a literal that leads nowhere does not hide a name."""
    assert look_up(path) == (endpoint, values)


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/tenant/", "/v1/tenant//table/t", "//", "/v1/tenant/a/", "/V1/tenant"],
)
def test_other_paths_find_nothing(path: str) -> None:
    """A named segment is never empty, and a slash at the end is another path."""
    assert look_up(path) is None


def test_names_belong_to_the_method() -> None:
    """Two routes of one shape may name their segments as they like."""
    assert look_up("/v1/tenant/a", "PUT") == ("put_tenant", {"name": "a"})


@pytest.mark.parametrize("path", ["/%", "/a%2", "/%zz", "/%ff", "/%c0%af", "/%ed%a0%80"])
def test_unreadable_path_is_refused(path: str) -> None:
    """Guessing at an id would store an entry where nobody finds it."""
    with pytest.raises(Refused) as refused:
        split_path(path)
    assert refused.value.kind is RefusalKind.INVALID


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_id_survives_its_escapes(text: str) -> None:
    """An id may hold any character."""
    assert look_up(f"/v1/tenant/{quote(text, safe='')}") == ("tenant", {"tenant": text})


@pytest.mark.parametrize("path", ["no-slash", "/a b", "/{}", "/{a}{b}", "/{a}/{a}", "/a//b", "/a/"])
def test_broken_route_is_a_bug(path: str) -> None:
    """A route that nobody could reach is found when it is written."""

    async def handler(_request: object) -> None:
        return None

    with pytest.raises(AssertionError):
        Route(method="GET", path=path, handler=handler, operation="x")  # type: ignore[arg-type]
