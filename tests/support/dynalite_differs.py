"""Where dynalite answers otherwise than the real service, and which source says so.

`scripts/compare-dynalite` runs the cases of the DynamoDB API against dynalite. A case of this table
must fail there: an entry whose case passes is out of date and fails the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final

_PARITY: Final = "paritysuite/dynamodb-conformance tests"
_API: Final = "Amazon DynamoDB API Reference"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Cases on which dynalite is wrong.

    Attributes:
        cases: files and ids of tests, `test_put_item.py::test_refusals[name]`; `*` is anything.
        why: what dynalite does.
        source: who says what the real service does.
        is_partial: some of the cases pass, by chance or since both agree there.
        is_deadly: one of the cases ends dynalite; they are not run.
    """

    cases: tuple[str, ...]
    why: str
    source: str
    is_partial: bool = False
    is_deadly: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches the cases; the brackets of an id are no character class."""
        return re.compile("|".join(translate(case.replace("[", "[[]")) for case in self.cases))


def _named(test: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{test}[{name}]" for name in names)


_TOKENS: Final = "bare-path bare-value character end no-operand number-literal open-paren "
_UPDATES: Final = "words set-alone no-value set-comma twice-equal remove-value add-equal add-path "
_PROJECTIONS: Final = "character comma-last two-words value no-index point-last"
_SHAPES: Final = (
    "begins-of-value between-of-value contains exists in nested nested-index no-name not "
    "not-exists or size sort-twice twice two-names type unequal"
)

_TIED: Final = "pages[*all- pages[*keys- pages[exists pages[o pages[t paging a_key all_of filter_on"
_FETCHED: Final = "*-d-* *a-d-* *z-x-* *-z-* *-x-* fetched total held-filter"
_OF_ANY_TYPE: Final = "t-EQ-* z-EQ-* l-EQ-* m-EQ-* l-NE-* m-NE-* l-CONTAINS-BOOL* l-CONTAINS-NULL*"

DYNALITE_DIFFERS: Final[tuple[Difference, ...]] = (
    Difference(
        cases=(
            "test_*_item.py::test_constraints[*-before-*",
            "test_*_item.py::test_constraints[returns-*",
            "test_*_item.py::test_constraints[ReturnValues-is-*",
            "test_*_item.py::test_constraints[empty-name-hides-enums]",
            *(
                f"test_{n}_item.py::test_constraints[several-in-order]"
                for n in ("put", "update", "delete")
            ),
            "test_*_item.py::test_con*[mixed*",
            "test_*_item.py::test_constraints[key-value-*",
            "test_put_item.py::test_items[*",
            "test_put_item.py::test_conditions[condition-*",
            "test_update_item.py::test_refused_expressions[*",
            "test_delete_item.py::test_refused_conditions[*",
            "test_update_item_former.py::test_refusals[*",
            "test_update_item_former.py::test_beside_expressions[*",
            "test_put_item_expected.py::test_refus*",
            "test_put_item_expected.py::test_beside_an_expression[*",
            "test_put_item_expected.py::test_the_key_comes_first",
            "test_batch_get_item.py::*",
            "test_query.py::test_*[*value-*",
            "test_query.py::test_refusals[start-*",
            "test_query_former.py::test_refused_values[*",
        ),
        why="says of requests by themselves what the service said before 2026",
        source=f"{_PARITY}/tier3/error-messages/valueLayers.test.ts, putItem.test.ts, "
        "deleteItem.test.ts, batchGetItem.test.ts; captures/cross-region-latest.json; "
        "registry/splits.json",
        is_partial=True,
    ),
    Difference(
        cases=("test_tag_rules.py::*",),
        why="looks at no tag, and ends when one lacks its value",
        source="ack-api-quirks services/dynamodb DDB-TABLE-107, DDB-TABLE-372",
        is_deadly=True,
    ),
    Difference(
        cases=(
            "test_aws_cli.py::test_what_is_told_of_a_table_and_the_account",
            *(f"test_describe_{n}.py::*" for n in ("continuous_backups", "endpoints", "limits")),
        ),
        why="knows neither DescribeContinuousBackups nor DescribeLimits nor DescribeEndpoints",
        source=f"{_API}, Actions",
    ),
    Difference(
        cases=(
            *_named("*::*", *(f"condition-{n}" for n in f"{_TOKENS}text-literal token".split())),
            "*::*[condition-two-comparisons]",
            *_named("*::*", *(f"projection-{n}" for n in _PROJECTIONS.split())),
            *_named("*::*", *(f"update-{n}" for n in _UPDATES.split())),
            *_named("*::*", "update-number-literal", "update-multiplication"),
        ),
        why="says of a syntax error what its parser generator says",
        source=f"{_PARITY}/tier3/error-messages/updateItem.test.ts, getItem.test.ts",
    ),
    Difference(
        cases=tuple(f"test_*_index.py::test_{case}*" for case in _TIED.split()),
        why="puts entries of equal index keys in the order of a hash of the table's",
        source="Amazon DynamoDB Developer Guide, LSI.html, which promises no order of them",
        is_partial=True,
    ),
    Difference(
        cases=tuple(f"test_query_index.py::test_pages[{case}*" for case in _FETCHED.split()),
        why="fetches nothing for a projection, and charges all that is fetched together",
        source=f"{_API}, Query, Select; its own test/query.js of 2014",
        is_partial=True,
    ),
    Difference(
        cases=("*_index*.py::test_refusals[filter-on-*not-held*",),
        why="lets a filter look for what an index does not hold",
        source="sensedeep/dynamodb-onetable issue 377",
    ),
    Difference(
        cases=("test_local_index_writes.py::*",),
        why="charges no write to an index, and knows no item collections",
        source="Amazon DynamoDB Developer Guide, LSI.html; conformance itemCollectionMetrics",
        is_partial=True,
    ),
    Difference(
        cases=("*::*[condition-update-function]",),
        why="does not know an update's functions by name in a condition",
        source="Alternator test_condition_expression.py::test_update_condition_other_funcs",
    ),
    Difference(
        cases=_named("*::*", "condition-order-of-list", "condition-order-of-boolean"),
        why="compares values that have no order, and finds them unordered",
        source="Alternator test_condition_expression.py::test_update_condition_lt",
    ),
    Difference(
        cases=("*::test_truths[l = :a {':a': {'L': [{'S': 'x'}*", "*::test_truths[m = :a *"),
        why="finds no list and no map equal to another",
        source="Alternator test_condition_expression.py::test_update_condition_eq_nested",
    ),
    Difference(
        cases=("*::test_truths[contains(l, :a) {':a': {'M'*",),
        why="looks for scalars only in a list",
        source=f"{_API}, contains; Expressions.OperatorsAndFunctions.html",
    ),
    Difference(
        cases=_named("*::test_truths", "gone = gone2 {}", "gone <> gone2 {}", "gone >= gone2 {}"),
        why="compares two absent attributes as equal values",
        source="Alternator test_condition_expression.py::test_update_condition_ne_two_unset",
    ),
    Difference(
        cases=("*::test_truths[not not s*",),
        why="takes one NOT only",
        source="the grammar published with DAX's clients, DynamoDbGrammar.g4",
    ),
    Difference(
        cases=("*::test_truths[:a in (s, e)*", "*::test_truths[size(e) = :a*"),
        why="takes an empty string for an absent attribute",
        source="https://aws.amazon.com/about-aws/whats-new/2020/05/"
        "amazon-dynamodb-now-supports-empty-values-for-non-key-string-and-binary-attributes/",
    ),
    Difference(
        cases=("*::*[empty-table-name]",),
        why="holds an empty name against each bound of a name",
        source=f"{_PARITY}/tier3/error-messages/putItem.test.ts",
    ),
    Difference(
        cases=_named(
            "*::test_constraints",
            *(f"key-empty-{n}" for n in ("string", "binary", "sort-key", "sort-binary")),
        ),
        why="begins the sentence about an empty key as others of parameters begin",
        source=f"{_PARITY}/tier3/error-messages/getItem.test.ts",
    ),
    Difference(
        cases=("*::*[key-too-long-in-bytes]", "*::*[400-kb-and-1-in-utf-8]"),
        why="counts characters where the service counts bytes of UTF-8",
        source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html",
    ),
    Difference(
        cases=(
            "*::*[ReturnValuesOnConditionCheckFailure-*",
            "*::test_a_failed_condition_shows_the_item",
            "*::test_a_failed_expectation_shows_the_item[*",
        ),
        why="does not know ReturnValuesOnConditionCheckFailure",
        source=f"{_API}, PutItem",
    ),
    Difference(
        cases=(
            "test_put_item.py::test_constraints[nothing]",
            *_named("test_get_item.py::test_constraints", "nothing", "several-in-order"),
        ),
        why="complains in the order of an older release",
        source="paritysuite/dynamodb-conformance captures/cross-region-latest.json",
    ),
    Difference(
        cases=("*::*[nesting-33]",),
        why="does not look at nesting",
        source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html",
    ),
    Difference(
        cases=("*::*[index-key-empty]",),
        why="takes an empty value for an index's key",
        source=f"{_PARITY}/tier3/error-messages/batchWriteItem.test.ts",
    ),
    Difference(
        cases=_named("test_batch_write_item.py::test_constraints", "26-requests"),
        why="prints the requests as JSON",
        source=f"{_PARITY}/tier3/error-messages/batchWriteItem.test.ts",
    ),
    Difference(
        cases=_named("test_batch_write_item.py::test_constraints", "both"),
        why="takes a put and a delete in one request, and does the put",
        source=f"{_API}, WriteRequest; dynalite's own sentence for neither",
    ),
    Difference(
        cases=(
            *_named(
                "test_update_item.py::test_answers",
                "UPDATED_NEW-of-REMOVE a",
                "UPDATED_OLD-of-SET fresh = :a",
            ),
            *_named(
                "test_update_item_former.py::test_answers",
                "UPDATED_NEW-of-delete",
                "UPDATED_OLD-of-put-of-fresh",
            ),
        ),
        why="answers an empty map of attributes",
        source="Alternator test/alternator/test_returnvalues.py",
    ),
    Difference(
        cases=(
            "test_update_item.py::test_answers[number-overflow-*",
            "test_update_item_former.py::test_sums_that_no_number_holds[*",
        ),
        why="stores a sum beyond the range of numbers",
        source=f"{_PARITY}/tier3/limits/numberPrecision.test.ts",
    ),
    Difference(
        cases=(
            "test_update_item.py::test_answers[remove-of-nothing-makes-nothing]",
            "test_update_item_former.py::test_an_item_that_is_not_there[delete*",
        ),
        why="makes an item of an update that only removes",
        source="Alternator test/alternator/test_item.py::test_update_item_non_existent",
    ),
    Difference(
        cases=(
            *(
                f"{file}::test_truths[{case}"
                for file in ("test_query_former_pages.py", "test_scan_former.py")
                for case in _OF_ANY_TYPE.split()
            ),
            "test_query_former.py::test_conditions_that_fit_no_key[list-for-the-partition-key]",
        ),
        why="refuses values that were new in 2014 in filters and KeyConditions",
        source="Alternator test_query_filter.py::test_query_filter_eq; DynamoDB local, "
        "LocalDBComparisonOperator.isTypeSupported",
    ),
    Difference(
        cases=(
            "test_update_item_former.py::test_truths[l-*{'S'*",
            "test_update_item_former.py::test_truths[m-*{'k'*",
        ),
        why="finds no list and no map equal to another",
        source="Alternator test_condition_expression.py::test_update_condition_eq_nested",
    ),
    Difference(
        cases=_named(
            "test_update_item_former.py::test_truths", "n-EQ-N:5.0", "n-NE-N:5.0", "n-IN-N:5.00"
        ),
        why="compares how the numbers of Expected are spelled",
        source=f"{_API}, Condition; the developer guide, data types, Number",
    ),
    Difference(
        cases=("*_former*.py::test_truths[gone-NOT_CONTAINS-N:1]",),
        why="finds that what is not there does not contain a thing",
        source="Alternator test_expected.py::test_update_expected_1_not_contains",
    ),
    Difference(
        cases=("test_put_item_expected.py::test_outcomes[exists-as-other]",),
        why="looks at Exists alone",
        source="Alternator test_expected.py::test_update_expected_1_exists_false",
    ),
    Difference(
        cases=(
            "test_query_former.py::test_what_goes_together[operator-*",
            "test_scan_former.py::test_refusals[operator-*",
        ),
        why="takes ConditionalOperator beside anything, and beside nothing",
        source="ExtendDB tests/test_conditional_operator.py, run against the service too",
    ),
    Difference(
        cases=(
            "test_put_item_expected.py::test_outcomes[or-of-none]",
            "test_query_former_pages.py::test_pages[or]",
            "test_scan_former.py::test_pages[members5-*",
        ),
        why="ends an OR at its first condition, and finds it true without any",
        source="Alternator test_expected.py::test_update_expected_multi_false, "
        "test_query_filter.py::test_query_filter_or",
    ),
    Difference(
        cases=(
            "test_get_item_former.py::test_refused_names[empty-name]",
            "test_put_item_expected.py::test_expected_has_the_size_of_an_item",
            "test_query_former.py::test_conditions_that_fit_no_key[empty-partition-key]",
        ),
        why="has no such check",
        source="DynamoDB local, ErrorFactory and its uses",
    ),
    Difference(
        cases=(
            "test_update_item.py::test_changes[REMOVE l[0], l[2] {}]",
            "test_update_item.py::test_changes[SET a = n ADD n :b*",
        ),
        why="does one action after the other, each on what the one before left",
        source="Alternator test/alternator/test_update_expression.py",
    ),
    Difference(
        cases=_named("test_query.py::test_refusals", *_SHAPES.split()),
        why="says the sentence without naming the expression",
        source="https://github.com/aws-amplify/amplify-category-api/pull/3531",
    ),
    Difference(
        cases=(
            *_named("test_query.py::test_refusals", "two-of-hash-table"),
            "test_query_former.py::test_conditions_that_fit_no_key[two-of-a-table-of-one]",
        ),
        why="does not count conditions",
        source=f"{_PARITY}/tier1/query/queryKeyConditionOperands.test.ts",
    ),
    Difference(
        cases=(
            "test_query_pages.py::test_pages[select-*",
            "test_query_former.py::test_selects[*",
            "test_scan_former.py::test_refusals[select-*",
            "test_scan.py::test_refusals[select-without-projection]",
        ),
        why="does not compare Select with what is projected",
        source=f"{_PARITY}/tier3/error-messages/query.test.ts, scan.test.ts",
    ),
    Difference(
        cases=_named(
            "test_query_pages.py::test_pages",
            "capacity-indexes",
            "capacity-of-nothing",
            "capacity-of-nothing-consistent",
        ),
        why="charges nothing for an empty page",
        source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "read-write-operations.html",
    ),
    Difference(
        cases=(
            "test_scan.py::test_types[ConsistentRead-*",
            "test_scan.py::test_answers[capacity-*-consistent]",
            "test_scan.py::test_refusals[consistent-global-index]",
            "test_query_global_index.py::test_refusals_of_a_scan[consistent]",
        ),
        why="does not know a Scan's ConsistentRead",
        source=f"{_API}, Scan",
    ),
    Difference(
        cases=_named("test_scan.py::test_refusals", "segment-1000000", "total-segments-1000001"),
        why="has no upper bound for segments",
        source=f"{_API}, Scan",
    ),
    Difference(
        cases=_named("test_scan.py::test_refusals", "segment-alone"),
        why="takes segment 0 for none",
        source=f"{_PARITY}/tier3/error-messages/scan.test.ts",
    ),
    Difference(
        cases=(
            "test_get_item.py::test_a*_arn*",
            "test_describe_*.py::test_a_table_by_its_arn",
            "*_table*.py::test_refusals[arn-of-another-account]",
            "*_table*.py::test_refusals[arn-of-a-table-gone]",
            "*_table*.py::test_refusals[arn-too-long]",
            "*_table*.py::test_refusals[arn-with-a-long-name]",
            "test_describe_time_to_live.py::test_refusals[arn-of-another-account]",
            "test_describe_time_to_live.py::test_refusals[arn-of-a-table-gone]",
            "test_describe_time_to_live.py::test_refusals[arn-too-long]",
            "test_describe_time_to_live.py::test_refusals[arn-with-a-long-name]",
        ),
        why="takes no ARN for a table's name",
        source=f"{_API}, TableName",
    ),
    Difference(
        cases=(
            "*::test_refusals[name-of-2]",
            "*::test_refusals[name-of-256]",
            "*::test_refusals[table-name-;;;;;;;;;;-of-256]",
            "*::test_refusals[table-name-a-of-1]",
            "*::test_refusals[table-name-a;-of-2]",
            "*::test_refusals[table-name-aaaaaaaaaa-of-256]",
            "*::test_refusals[table-name-ab-of-2]",
        ),
        why="has a sentence of its own for the length of a table's name, as older releases had",
        source=f"{_PARITY}/tier3/error-messages/createTable.test.ts",
    ),
    Difference(
        cases=(
            "test_create_table.py::test_types[*OnDemandThroughput*",
            "test_create_table.py::test_types[*WarmThroughput*",
            *(
                f"test_{operation}_table.py::test_types[{member}*"
                for operation in ("create", "update")
                for member in (
                    "DeletionProtectionEnabled",
                    "ResourcePolicy",
                    "SSESpecification",
                    "StreamSpecification",
                    "TableClass",
                    "Tags",
                )
            ),
            "test_update_table.py::test_types[*AttributeDefinitions*",
            "test_update_table.py::test_types[*OnDemandThroughput*",
            "test_update_table.py::test_types[*WarmThroughput*",
            "test_update_table.py::test_deletion_protection",
            "test_delete_table.py::test_a_protected_table_stays",
            "test_create_table_answers.py::test_a_*",
            "test_create_table_answers.py::test_settings_are_answered",
            "test_create_table_answers.py::test_tags_are_kept",
            "test_create_table.py::test_refusals[table-class]",
            "test_create_table.py::test_refusals[stream-view-without-stream]",
            "test_create_table.py::test_refusals[key-name-of-256]",
            "test_create_table.py::test_refusals[three-keys]",
        ),
        why="does not know, or does not look at, what tables may have since 2017, and answers a "
        "description without it",
        source=f"{_API}, CreateTable, TableDescription",
    ),
    Difference(
        cases=_named(
            "test_update_table.py::test_refusals",
            "create-empty-schema",
            "create-no-projection",
            "create-no-schema",
            "create-projection-type",
        ),
        why="asks every new index for its own throughput",
        source=f"{_API}, CreateGlobalSecondaryIndexAction",
    ),
    Difference(
        cases=(
            "test_update_table.py::test_more_throughput",
            "test_update_table.py::test_the_same_throughput",
        ),
        why="answers a BillingMode that no description has",
        source="botocore's model of TableDescription",
    ),
    Difference(
        cases=(
            "test_*tag*_*.py::test_refusals[*",
            "test_tag_resource.py::test_fifty_tags",
            "test_tag_resource.py::test_tags_that_cannot_be[*",
            "test_*_table_*.py::*",
            "test_tag_rules.py::*",
        ),
        why="has what the service said of ARNs, tags and tables in 2017, checks less, and ends "
        "when a tag has no value",
        source="ack-api-quirks services/dynamodb; Alternator test/alternator/test_tag.py",
        is_partial=True,
    ),
    Difference(
        cases=("*-over-32-bits]", "*write_item*[n*table*]", "*l-and-no-key]", "*[three-cond*"),
        why="reads exponents of any size; says otherwise what is wrong with names and conditions",
        source=f"{_PARITY}/tier3; ExtendDB/extenddb#111",
        is_partial=True,
    ),
)


def difference_of(node_id: str) -> Difference | None:
    """Find why a test is expected to fail against dynalite, None if it is expected to pass."""
    path, bracket, parameters = node_id.partition("[")
    case = path.rpartition("/")[2] + bracket + parameters
    for known in DYNALITE_DIFFERS:
        if known.pattern.fullmatch(case):
            return known
    return None
