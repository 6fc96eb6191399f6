"""Tokens → tree, one method a rule; the rules and their sources stand in GRAMMAR.md.

Open groups and calls are kept on lists, not on Python's stack: 4,096 bytes hold 1,300 of them in
each other, and the first complaint about such a text must be AWS's all the same.

`(a) = b` begins with an operand in parentheses, `(a = b)` with a condition in them. A run of
parentheses is therefore looked through once, to what stands behind its innermost operand.

Parentheses straight around parentheses are refused where the outer pair closes, before anything to
the right is looked at, as AWS does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, cast

from dstore.expressions.ast import (
    Action,
    And,
    Arithmetic,
    Between,
    Call,
    Comparator,
    Compare,
    ConditionNode,
    Field,
    In,
    Index,
    NameRef,
    Not,
    Operand,
    Or,
    Path,
    ProjectionTree,
    Section,
    SectionKind,
    SetValue,
    Step,
    UpdateTree,
    ValueRef,
)
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.lexer import Token, TokenKind, near, tokenize

_COMPARATORS: Final = frozenset(
    {TokenKind.EQ, TokenKind.NE, TokenKind.LT, TokenKind.LE, TokenKind.GT, TokenKind.GE}
)
_COMPARISONS: Final = _COMPARATORS | {TokenKind.IN, TokenKind.BETWEEN}
_SIGNS: Final = frozenset({TokenKind.PLUS, TokenKind.MINUS})
_IDENTIFIERS: Final = frozenset({TokenKind.WORD, TokenKind.NAME})
_SECTIONS: Final = {
    TokenKind.SET: SectionKind.SET,
    TokenKind.REMOVE: SectionKind.REMOVE,
    TokenKind.ADD: SectionKind.ADD,
    TokenKind.DELETE: SectionKind.DELETE,
}


def parse_condition(text: str) -> ConditionNode:
    """Parse a condition, filter or key condition.

    Raises: ExpressionError: SYNTAX or REDUNDANT_PARENTHESES.
    Cost: O(length).
    """
    parser = _Parser(text)
    tree = parser.condition()
    parser.take(TokenKind.END)
    return tree


def parse_update(text: str) -> UpdateTree:
    """Parse an update; raises and costs as `parse_condition`."""
    parser = _Parser(text)
    sections = [parser.section()]
    while parser.kind is not TokenKind.END:
        sections.append(parser.section())
    return UpdateTree(tuple(sections))


def parse_projection(text: str) -> ProjectionTree:
    """Parse a projection; raises and costs as `parse_condition`."""
    parser = _Parser(text)
    paths = [parser.path()]
    while parser.skip(TokenKind.COMMA):
        paths.append(parser.path())
    parser.take(TokenKind.END)
    return ProjectionTree(tuple(paths))


@dataclass(slots=True)
class _Group:
    """A condition in progress: that of an open group, or the outermost one."""

    opened_at: int
    denials: list[int]  # offsets of the NOTs before the group
    offset: int
    disjuncts: list[ConditionNode]
    conjuncts: list[ConditionNode]

    def closed(self) -> ConditionNode:
        """Put together what was read: OR of AND, for AND binds tighter."""
        self.disjoin()
        if len(self.disjuncts) == 1:
            return self.disjuncts[0]
        return Or(tuple(self.disjuncts), self.offset)

    def disjoin(self) -> None:
        """End a run of ANDs."""
        conjuncts = self.conjuncts
        self.disjuncts.append(
            conjuncts[0] if len(conjuncts) == 1 else And(tuple(conjuncts), self.offset)
        )
        self.conjuncts = []


@dataclass(slots=True)
class _OpenOperand:
    """An open parenthesis around an operand, or an open call (`function` is not "")."""

    opened_at: int
    function: str
    offset: int
    operands: list[Operand]


class _Parser:
    """The place in the tokens, and one method a rule."""

    __slots__ = ("_at", "_closed", "_operand_from", "_text", "_tokens", "kind")

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._closed = (-1, -1)  # the last pair of parentheses closed, as token numbers
        self._operand_from = -1  # in a run of parentheses, the first that holds an operand
        self.kind = self._tokens[0].kind

    # ------------------------------------------------------------------------------ conditions

    def condition(self) -> ConditionNode:
        """Take terms joined by AND and OR; NOT binds tightest, OR loosest."""
        group = _Group(-1, [], self._token.start, [], [])
        outer: list[_Group] = []
        while True:
            denials = self._denials()
            if self._holds_condition():
                outer.append(group)
                group = _Group(self._at, denials, self._tokens[self._at + 1].start, [], [])
                self._advance()
                continue
            term = _denied(self._comparison(), denials)
            while True:
                group.conjuncts.append(term)
                if self.skip(TokenKind.AND):
                    break
                if self.skip(TokenKind.OR):
                    group.disjoin()
                    break
                if not outer:
                    return group.closed()
                self._close(group.opened_at)
                term = _denied(group.closed(), group.denials)
                group = outer.pop()

    def _denials(self) -> list[int]:
        offsets = []
        while self.kind is TokenKind.NOT:
            offsets.append(self._advance().start)
        return offsets

    def _holds_condition(self) -> bool:
        """Say whether a parenthesis here holds a condition (else an operand, or there is none)."""
        if self.kind is not TokenKind.OPEN:
            return False
        if self._at >= self._operand_from:
            self._operand_from = self._split_run(_COMPARISONS)
        return self._at < self._operand_from

    def _comparison(self) -> ConditionNode:
        offset = self._token.start
        left = self.operand()
        if self.kind in _COMPARATORS:
            operator = cast("Comparator", self._advance().text)  # the kind says which texts
            return Compare(operator, left, self.operand(), offset)
        if self.skip(TokenKind.BETWEEN):
            low = self.operand()
            self.take(TokenKind.AND)
            return Between(left, low, self.operand(), offset)
        if self.skip(TokenKind.IN):
            self.take(TokenKind.OPEN)
            options = [self.operand()]
            while self.skip(TokenKind.COMMA):
                options.append(self.operand())
            self.take(TokenKind.CLOSE)
            return In(left, tuple(options), offset)
        if isinstance(left, Call):
            return left
        raise self._syntax_error(self._at)

    # -------------------------------------------------------------------------------- operands

    def operand(self) -> Operand:
        """Take a path, a value or a call, maybe in parentheses."""
        pending: list[_OpenOperand] = []
        while True:
            token = self._token
            if self.kind is TokenKind.OPEN:
                pending.append(_OpenOperand(self._at, "", token.start, []))
                self._advance()
                continue
            if self.kind is TokenKind.WORD and self._tokens[self._at + 1].kind is TokenKind.OPEN:
                self._advance()
                pending.append(_OpenOperand(self._at, token.text, token.start, []))
                self._advance()
                continue
            operand: Operand
            if self.kind is TokenKind.VALUE:
                operand = ValueRef(self._advance().text, token.start)
            else:
                operand = self.path()
            closed = self._close_operands(operand, pending)
            if closed is not None:
                return closed

    def _close_operands(self, operand: Operand, pending: list[_OpenOperand]) -> Operand | None:
        """Close what an operand ends; None if a comma asks for another operand."""
        while pending:
            innermost = pending[-1]
            if not innermost.function:
                self._close(innermost.opened_at)
            else:
                innermost.operands.append(operand)
                if self.skip(TokenKind.COMMA):
                    return None
                self.take(TokenKind.CLOSE)
                operand = Call(innermost.function, tuple(innermost.operands), innermost.offset)
            pending.pop()
        return operand

    def path(self) -> Path:
        """Take a name, then `.name` and `[index]` as long as there are any."""
        token = self._token
        steps = [self._name()]
        while True:
            if self.skip(TokenKind.DOT):
                steps.append(self._name())
            elif self.skip(TokenKind.OPEN_BRACKET):
                index = self.take(TokenKind.INDEX)
                steps.append(Index(index.text, index.start))
                self.take(TokenKind.CLOSE_BRACKET)
            else:
                return Path(tuple(steps), token.start)

    def _name(self) -> Step:
        if self.kind not in _IDENTIFIERS:
            raise self._syntax_error(self._at)
        token = self._advance()
        if token.kind is TokenKind.NAME:
            return NameRef(token.text, token.start)
        return Field(token.text, token.start)

    # --------------------------------------------------------------------------------- updates

    def section(self) -> Section:
        """Take SET, REMOVE, ADD or DELETE with its actions."""
        kind = _SECTIONS.get(self.kind)
        if kind is None:
            raise self._syntax_error(self._at)
        offset = self._advance().start
        actions = [self._action(kind)]
        while self.skip(TokenKind.COMMA):
            actions.append(self._action(kind))
        return Section(kind, tuple(actions), offset)

    def _action(self, kind: SectionKind) -> Action:
        target = self.path()
        if kind is SectionKind.REMOVE:
            return Action(kind, target)
        if kind is SectionKind.SET:
            self.take(TokenKind.EQ)
            return Action(kind, target, self._set_value())
        value = self.take(TokenKind.VALUE)
        return Action(kind, target, ValueRef(value.text, value.start))

    def _set_value(self) -> SetValue:
        opened: list[int] = []
        if self.kind is TokenKind.OPEN:
            operand_from = self._split_run(_SIGNS)
            while self._at < operand_from:
                opened.append(self._at)
                self._advance()
        offset = self._token.start
        value: SetValue = self.operand()
        if self.kind in _SIGNS:
            sign = cast("Literal['+', '-']", self._advance().text)  # the kind says which texts
            assert not isinstance(value, Arithmetic)
            value = Arithmetic(sign, value, self.operand(), offset)
        for opened_at in reversed(opened):
            self._close(opened_at)
        return value

    # ----------------------------------------------------------------------------- parentheses

    def _split_run(self, operators: Collection[TokenKind]) -> int:
        """Find the first parenthesis, of the run of them here, that holds a mere operand.

        Args:
            operators: what makes more than an operand of one.
        Returns: its token number; that of the run's end if each of them holds more.
        """
        tokens = self._tokens
        core = self._at
        while tokens[core].kind is TokenKind.OPEN:
            core += 1
        if tokens[core].kind is TokenKind.NOT:
            return core
        behind, is_call = self._behind_operand(core)
        closed = 0
        while closed < core - self._at and tokens[behind].kind is TokenKind.CLOSE:
            behind += 1
            closed += 1
        if tokens[behind].kind in operators:
            return core - closed
        if operators is _SIGNS:
            return self._at
        if is_call:
            return core
        raise self._syntax_error(behind)

    def _behind_operand(self, at: int) -> tuple[int, bool]:
        """Find what stands behind the operand at `at`, and say whether that is a call."""
        tokens = self._tokens
        kind = tokens[at].kind
        if kind is TokenKind.VALUE:
            return at + 1, False
        if kind is TokenKind.WORD and tokens[at + 1].kind is TokenKind.OPEN:
            return self._behind_parentheses(at + 1), True
        if kind not in _IDENTIFIERS:
            raise self._syntax_error(at)
        at += 1
        while True:
            if tokens[at].kind is TokenKind.DOT:
                if tokens[at + 1].kind not in _IDENTIFIERS:
                    raise self._syntax_error(at + 1)
                at += 2
            elif tokens[at].kind is TokenKind.OPEN_BRACKET:
                for expected in (TokenKind.INDEX, TokenKind.CLOSE_BRACKET):
                    at += 1
                    if tokens[at].kind is not expected:
                        raise self._syntax_error(at)
                at += 1
            else:
                return at, False

    def _behind_parentheses(self, at: int) -> int:
        """Find what stands behind a call's parentheses; the end, if they are never closed."""
        depth = 0
        while True:
            kind = self._tokens[at].kind
            if kind is TokenKind.END:
                return at
            at += 1
            if kind is TokenKind.OPEN:
                depth += 1
            elif kind is TokenKind.CLOSE:
                depth -= 1
                if depth == 0:
                    return at

    def _close(self, opened_at: int) -> None:
        """Take the parenthesis that closes the one at `opened_at`."""
        pair = (opened_at, self._at)
        self.take(TokenKind.CLOSE)
        if self._closed == (pair[0] + 1, pair[1] - 1):
            raise ExpressionError(
                Complaint.REDUNDANT_PARENTHESES, offset=self._tokens[opened_at].start
            )
        self._closed = pair

    # ---------------------------------------------------------------------------------- tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _advance(self) -> Token:
        """Take the token here, which is not the end."""
        token = self._tokens[self._at]
        self._at += 1
        self.kind = self._tokens[self._at].kind
        return token

    def skip(self, kind: TokenKind) -> bool:
        """Take a token of this kind if one is here."""
        if self.kind is not kind:
            return False
        self._advance()
        return True

    def take(self, kind: TokenKind) -> Token:
        """Take a token of this kind; the end is taken without going on.

        Raises: ExpressionError: SYNTAX: something else is here.
        """
        if self.kind is not kind:
            raise self._syntax_error(self._at)
        return self._token if kind is TokenKind.END else self._advance()

    def _syntax_error(self, at: int) -> ExpressionError:
        token = self._tokens[at]
        return ExpressionError(
            Complaint.SYNTAX,
            offset=token.start,
            token=token.text,
            near=near(self._text, self._tokens, at),
        )


def _denied(condition: ConditionNode, denials: list[int]) -> ConditionNode:
    for offset in reversed(denials):
        condition = Not(condition, offset)
    return condition
