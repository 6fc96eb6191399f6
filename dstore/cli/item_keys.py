"""Keys as people type them, `pk=ada` or JSON, and the tables that know what these keys are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dstore.cli.answers import unexpected
from dstore.cli.dynamodb import DynamoDb
from dstore.cli.failures import usage
from dstore.cli.item_formats import read_attributes
from dstore.cli.item_options import Format, Substitutes
from dstore.model.values import Attribute, Item

# NAME, how it is compared, VALUE; `^=` is CSS's "begins with".
_COMPARISON: Final = re.compile(r"\s*([^=<>^]+?)\s*(<=|>=|\^=|=|<|>)\s*(.*)", re.DOTALL)
_PAIR: Final = re.compile(r"\s*([^=]+?)\s*=(.*)", re.DOTALL)
# What --where calls the keys in its expression.
_PARTITION: Final = "#key_partition"
_SORT: Final = "#key_sort"
# The names in a path, and the numbers of list elements, which stay as they are.
_PATH_PART: Final = re.compile(r"\[[0-9]+\]|[^\s,.\[\]]+")
_JOINED: Final = frozenset({"ExpressionAttributeNames", "ExpressionAttributeValues"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKeys:
    """A table's keys as DescribeTable tells them: names, and types S, N or B.

    Attributes:
        item_count: as the server last counted.
    """

    table: str
    partition: str
    sort: str | None
    types: Mapping[str, str]
    item_count: int

    @property
    def names(self) -> tuple[str, ...]:
        """The one or two names."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    def value(self, name: str, text: str) -> Attribute:
        """Spell what was typed as the attribute that the key is.

        Raises: Failure(USAGE): the table has no such key attribute.
        """
        if name not in self.names:
            raise usage(f"{name} is no key of {self.table}; its keys: {', '.join(self.names)}.")
        return {self.types[name]: text}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCondition:
    """A key condition expression and what stands in it; names and values may be empty."""

    expression: str
    names: Mapping[str, str]
    values: Item


def table_keys(db: DynamoDb, table: str, *, index: str | None = None) -> TableKeys:
    """Ask for a table's keys, or for those of an index of it.

    Raises: Failure: as `DynamoDb.read`, the answer is not DescribeTable's, or there is no such
        index, or one with more than two keys.
    """
    if db.print_curl:
        raise usage(
            "--print-curl sends nothing, so the table's keys are not known: give --key or "
            "--key-condition with --values as JSON, and --condition in place of --if-absent."
        )
    answer = db.read("DescribeTable", {"TableName": table})
    try:
        described = answer["Table"]
        schema = described["KeySchema"] if index is None else _index_schema(described, index)
        kinds = {part["KeyType"]: part["AttributeName"] for part in schema}
        types = {
            attribute["AttributeName"]: attribute["AttributeType"]
            for attribute in described["AttributeDefinitions"]
        }
        return TableKeys(
            table=table,
            partition=kinds["HASH"],
            sort=kinds.get("RANGE"),
            types={name: types[name] for name in kinds.values()},
            item_count=int(described.get("ItemCount") or 0),
        )
    except (KeyError, TypeError, ValueError):
        raise unexpected() from None


def _index_schema(described: Mapping[str, Any], index: str) -> list[dict[str, str]]:
    members = ("LocalSecondaryIndexes", "GlobalSecondaryIndexes")
    known = [each for member in members for each in described.get(member) or ()]
    for each in known:
        if each["IndexName"] == index:
            schema: list[dict[str, str]] = each["KeySchema"]
            if len({part["KeyType"] for part in schema}) < len(schema):
                raise usage(f"{index} has keys of several attributes: give --key-condition.")
            return schema
    names = ", ".join(each["IndexName"] for each in known) or "none"
    raise usage(f"There is no index {index}; the table's indexes: {names}.")


def key_of(db: DynamoDb, table: str, given: Sequence[str], *, form: Format) -> Item:
    """Read a key: one JSON object, or NAME=VALUE for each key attribute.

    The values of the latter have the types that the table says; a binary is base64.

    Raises: Failure(USAGE): it is neither, or not the whole key.
    """
    if len(given) == 1 and given[0].lstrip().startswith("{"):
        return read_attributes(given[0], form, what="--key")
    pairs: dict[str, str] = {}
    for text in given:
        match = _PAIR.fullmatch(text)
        if match is None or match[1] in pairs:
            raise usage("""--key takes NAME=VALUE once for each key, or JSON: '{"pk": "a"}'.""")
        pairs[match[1]] = match[2]
    keys = table_keys(db, table)
    key = {name: keys.value(name, text) for name, text in pairs.items()}
    if absent := [name for name in keys.names if name not in key]:
        raise usage(f"The key of {table} has {absent[0]} too: add --key {absent[0]}=VALUE.")
    return key


def substitutes(given: Substitutes) -> dict[str, Any]:
    """Read --names and --values as the members of a request.

    Raises: Failure(USAGE): they are no JSON objects, or a name is no string.
    """
    names: dict[str, str] = {}
    if given.names is not None:
        for name, attribute in read_attributes(given.names, Format.PLAIN, what="--names").items():
            if "S" not in attribute:
                raise usage("""--names takes an object of strings: '{"#n": "name"}'.""")
            names[name] = attribute["S"]
    values: Item = {}
    if given.values is not None:
        values = read_attributes(given.values, given.form, what="--values")
    return {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}


def projection(paths: str | None) -> dict[str, Any]:
    """Make a projection expression in which every name is substituted, reserved words too.

    `name,address.city,tags[0]` is read; a name that holds one of these marks itself is to be given
    as #name, with --names.
    """
    if paths is None:
        return {}
    names: dict[str, str] = {}

    def substituted(match: re.Match[str]) -> str:
        name = match[0]
        if name.startswith(("#", "[")):
            return name
        known = next((short for short, full in names.items() if full == name), None)
        short = known or f"#path{len(names)}"
        names[short] = name
        return short

    expression = _PATH_PART.sub(substituted, paths)
    return {"ProjectionExpression": expression, "ExpressionAttributeNames": names}


def where(
    db: DynamoDb, table: str, given: Sequence[str], *, index: str | None = None
) -> KeyCondition:
    """Make a key condition of `pk=ada`, `day>=2024-01` and the like.

    Raises: Failure(USAGE): one is no comparison, or the names are no keys of the table or index.
    """
    comparisons = []
    for text in given:
        match = _COMPARISON.fullmatch(text)
        if match is None:
            raise usage("--where takes NAME=VALUE, or one of < <= > >= ^= (begins with).")
        comparisons.append((match[1], match[2], match[3]))
    keys = table_keys(db, table, index=index)
    names: dict[str, str] = {}
    values: Item = {}
    on_key: dict[str, dict[str, str]] = {}
    for number, (name, operator, text) in enumerate(comparisons):
        values[f":key{number}"] = keys.value(name, text)
        names[_PARTITION if name == keys.partition else _SORT] = name
        if operator in on_key.setdefault(name, {}):
            raise usage(f"--where says {name}{operator} twice.")
        on_key[name][operator] = f":key{number}"
    if list(on_key.get(keys.partition, ())) != ["="]:
        raise usage(f"--where needs {keys.partition}=VALUE, the partition key of {index or table}.")
    parts = [f"{_PARTITION} = {on_key[keys.partition]['=']}"]
    if keys.sort is not None and (on_sort := on_key.get(keys.sort)):
        parts.append(_on_sort(on_sort, keys.sort))
    return KeyCondition(expression=" AND ".join(parts), names=names, values=values)


def _on_sort(comparisons: Mapping[str, str], name: str) -> str:
    if comparisons.keys() == {">=", "<="}:
        return f"{_SORT} BETWEEN {comparisons['>=']} AND {comparisons['<=']}"
    if len(comparisons) > 1:
        raise usage(f"--where takes one comparison of {name}, or >= together with <=.")
    [(operator, value)] = comparisons.items()
    return f"begins_with({_SORT}, {value})" if operator == "^=" else f"{_SORT} {operator} {value}"


def joined_members(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Join the parts of a request, and the names and values of their expressions.

    Names and values are left out where there are none, as DynamoDB demands.

    Raises: Failure(USAGE): a name or value is given twice.
    """
    members: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name not in _JOINED:
                members[name] = value
            elif value:
                joined = members.setdefault(name, {})
                if twice := joined.keys() & value.keys():
                    raise usage(f"{min(twice)} is taken by --where or --project; rename yours.")
                joined.update(value)
    return members
