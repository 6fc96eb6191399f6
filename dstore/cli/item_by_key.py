"""Items by their whole key, over the DynamoDB API: what `item get`, `put` and `delete` do then."""

from typing import Any

from dstore.cli.answers import unexpected
from dstore.cli.dynamodb import DynamoDb, dynamodb
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.item_files import ItemFile
from dstore.cli.item_formats import answered, spelled
from dstore.cli.item_keys import joined_members, key_of, projection, substitutes
from dstore.cli.item_load import Load, Loaded, Loader
from dstore.cli.item_options import Format, Substitutes
from dstore.cli.output import is_json, note, print_object, print_result
from dstore.model.values import Item


def get_item(
    table: str, keys: tuple[str, ...], *, project: str | None, strong: bool, given: Substitutes
) -> bytes:
    """Read an item.

    Returns: its JSON.
    Raises: Failure: NOT_FOUND if there is none, else as `DynamoDb.read`.
    """
    db = dynamodb()
    key = key_of(db, table, keys, form=given.form)
    members = joined_members({"ConsistentRead": strong}, projection(project), _names(given))
    found = _found(db, table, {"Key": key, **members})
    if found is None:
        raise _absent(table, key, given.form)
    return answered(found, given.form)


def delete_item(
    table: str, keys: tuple[str, ...], *, condition: str | None, dry_run: bool, given: Substitutes
) -> None:
    """Delete an item, or say what would be deleted.

    Raises: Failure: NOT_FOUND if there is none, else as `DynamoDb.write`.
    """
    db = dynamodb()
    key = key_of(db, table, keys, form=given.form)
    shown = spelled(key, given.form).decode()
    fields = {"table": table, "key": shown}
    if dry_run:
        if _found(db, table, {"Key": key, "ConsistentRead": True}) is None:
            raise _absent(table, key, given.form)
        sentence = f"Item {shown} of {table} would be deleted."
        if condition is not None:
            sentence += " (Its condition is the server's to judge.)"
        print_result("Item", {**fields, "deleted": False}, sentence=sentence)
        return
    members = {"TableName": table, "Key": key, "ReturnValues": "ALL_OLD"}
    conditions = {} if condition is None else {"ConditionExpression": condition}
    answer = db.write("DeleteItem", joined_members(members, conditions, substitutes(given)))
    if not answer.get("Attributes"):
        raise _absent(table, key, given.form)
    sentence = f"Item {shown} of {table} is deleted."
    print_result("Item", {**fields, "deleted": True}, sentence=sentence)


def put_items(
    table: str, file_name: str, *, condition: str | None, if_absent: bool, given: Substitutes
) -> None:
    """Store the items of a file.

    Raises: Failure: an item can't be stored, or a condition did not hold for some.
    """
    db = dynamodb()
    file = ItemFile(file_name)
    wanted = Load(
        table=table, form=given.form, condition=condition, if_absent=if_absent, given=given
    )
    loader = Loader(db, wanted)
    loaded = loader.loaded
    try:
        loader.load(file)
    except Failure as error:
        if not loaded.items:
            raise
        raise Failure(
            f"{error.message} {_stored(loaded, table)} before; the command can be repeated.",
            exit_code=ExitCode(error.exit_code),
        ) from None
    except KeyboardInterrupt:
        if loaded.items:
            note(f"{_stored(loaded, table)} so far; the command can be repeated.")
        raise
    finally:
        file.close()
    if db.print_curl:
        return
    fields = {"table": table, "stored": loaded.stored, "refused": loaded.refused}
    if not loaded.refused:
        print_result("ItemLoad", fields, sentence=f"{_stored(loaded, table)}.")
        return
    if is_json():
        print_object("ItemLoad", fields)
    why = "were there already" if if_absent and condition is None else "did not meet the condition"
    raise Failure(f"{_stored(loaded, table)}; {loaded.refused} {why} and were left alone.")


def _found(db: DynamoDb, table: str, members: dict[str, Any]) -> Item | None:
    found = db.read("GetItem", {"TableName": table, **members}).get("Item")
    if found is not None and not isinstance(found, dict):
        raise unexpected()
    return found


def _names(given: Substitutes) -> dict[str, Any]:
    """Keep what a projection can use."""
    return substitutes(Substitutes(names=given.names, values=None, form=given.form))


def _absent(table: str, key: Item, form: Format) -> Failure:
    return Failure(
        f"{table} has no item with the key {spelled(key, form).decode()}.",
        exit_code=ExitCode.NOT_FOUND,
    )


def _stored(loaded: Loaded, table: str) -> str:
    return (
        f"{'1 item is' if loaded.stored == 1 else f'{loaded.stored} items are'} stored in {table}"
    )
