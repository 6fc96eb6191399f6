"""DynamoDB's expression language: texts in, conditions, projections, key ranges and updates out.

Pure: no I/O, no clock, no randomness, no `async`. Items are in wire form (`model.values`).

    expressions = Expressions(names, values)          # the request's two maps, or None
    update = expressions.update("SET #n = #n + :one")
    condition = expressions.condition("attribute_exists(id)")
    expressions.finish()                              # names and values that nothing used

    condition.check_key_paths(keys=["id"])            # then what depends on the table
    update.check_keys(["id"])

    if condition.holds(item):                         # and, beside the data, what depends on it
        item, touched = update.apply(item, key=key)

    projection = expressions.projection("a.b, c[0]")  .apply(item) -> Item
    filter = expressions.filter("size(a) > :n")       .holds(item) -> bool
    query = expressions.key_condition("id = :id AND begins_with(sk, :p)")
    query.terms()                                     # AWS checks the shape before the table,
    query.range_in(partition, sort) -> KeyRange       # and the fit to its keys after

Whatever is wrong raises `ExpressionError`, and `sentence(error)` is what AWS says about it. The
order of AWS's complaints is the order of the calls above; within one expression it is told in
`check`. An update that fails has changed nothing: `apply` copies what it writes to.

Each but the key condition keeps its `source`, from which another process reads it again.

What a request asks for by the parameters that expressions have replaced, `former` makes into the
same values: `former.condition_of(terms)` and its like.

A request whose only expression is a condition asks `sole_condition`, which does all that the first
lines above do, and keeps what the next request of its kind has in common with it; one whose only
expression is an update asks `sole_update`.

Where to read next: `GRAMMAR.md`, `ast`, `check`, `resolve`, `evaluate`, `patterns`.
"""

from dstore.expressions.errors import Complaint, ExpressionError, ExpressionKind
from dstore.expressions.evaluate import Condition
from dstore.expressions.keycond import KeyCondition, KeyRange, KeyTerm, SortRange
from dstore.expressions.messages import sentence
from dstore.expressions.project import Projection
from dstore.expressions.request import Expressions, sole_condition, sole_update
from dstore.expressions.source import FormerSource, FormerTerm, Source
from dstore.expressions.update import Update

__all__ = [
    "Complaint",
    "Condition",
    "ExpressionError",
    "ExpressionKind",
    "Expressions",
    "FormerSource",
    "FormerTerm",
    "KeyCondition",
    "KeyRange",
    "KeyTerm",
    "Projection",
    "SortRange",
    "Source",
    "Update",
    "sentence",
    "sole_condition",
    "sole_update",
]
