"""SQL models as their authors wrote them: reading, checking and putting them in order. Opens no store.

A model is one file with one SELECT statement. Its name is the file's; its first line may say what it becomes:
`-- materialized: table` or `-- materialized: view`, which is the default.
"""

from __future__ import annotations

import graphlib
import heapq
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import TokenType

from jobs.engine.movers.protocol import MoverError

# Imported here and now: after giving up root the interpreter's files may be out of reach.
DIALECTS: dict[str, type[Dialect]] = {"duckdb": DuckDB, "postgres": Postgres}
KINDS = ("table", "view")
HEADER = re.compile(r"^\s*--\s*materiali[sz]ed\b(?P<rest>.*)$", re.IGNORECASE)
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
RESERVED_PREFIX = "_eltsite"
WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock, exp.Command)

# sqlglot warns on standard error about what it does not know; we say it ourselves, by file and line.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Model:
    """One SQL model: where it was written, what it becomes, and which models it reads."""

    name: str
    kind: str  # one of KINDS
    path: str
    select: str  # the statement as written, without what ends it
    first_line: int  # the line of the file at which `select` begins
    references: frozenset[str] = frozenset()  # tables of the target schema it reads, models or not
    parents: frozenset[str] = field(default=frozenset())  # those of them that are models


def read_models(files: Iterable[Mapping[str, str]], *, dialect: str, schema: str) -> list[Model]:
    """The models of `files` ({path, sql}), each after those it reads; among equals by name.

    Raises MoverError: model-name, model-duplicate, model-header, model-parse, model-statement, model-cycle.
    """
    models: dict[str, Model] = {}
    for file in sorted(files, key=lambda file: file["path"]):
        model = read_model(file["path"], file["sql"], dialect=dialect, schema=schema)
        if other := models.get(model.name):
            raise MoverError(
                f"Two files define the model {model.name}",
                reason=f"{other.path} and {model.path} have the same name, and a model is named after its file.",
                remedy="Rename or remove one of them.",
                code="model-duplicate",
                file=model.path,
            )
        models[model.name] = model
    linked = [with_parents(model, models) for model in models.values()]
    return in_order({model.name: model for model in linked})


def read_model(path: str, sql: str, *, dialect: str, schema: str) -> Model:
    """One model from its file."""
    name = model_name(path)
    text = sql.removeprefix("\ufeff").replace("\r\n", "\n")
    kind = materialization(path, text)
    tree, start, end = parse(path, text, dialect=dialect)
    return Model(
        name=name,
        kind=kind,
        path=path,
        select=text[start:end],
        first_line=text.count("\n", 0, start) + 1,
        references=frozenset(tables_read(tree, schema=schema)),
    )


def model_name(path: str) -> str:
    """A model's name, which is its table's or view's: plain enough to need no quotes in any store."""
    name = PurePosixPath(path).stem
    if NAME.fullmatch(name) and not name.startswith(RESERVED_PREFIX):
        return name
    better = re.sub(r"[^a-z0-9_]", "_", name.lower())[:63]
    if name.startswith(RESERVED_PREFIX):
        reason, remedy = f"Names that begin with {RESERVED_PREFIX} are eltsite's own.", "Rename the file."
    else:
        reason = "A model's file names its table or view, so it takes lower-case letters, digits and underscores only."
        remedy = f"Rename the file, to {better}.sql for example."
    raise MoverError(f"{path} cannot name a model", reason=reason, remedy=remedy, code="model-name", file=path)


def materialization(path: str, text: str) -> str:
    """What the first line says the model becomes; a view where it says nothing."""
    kind = "view"
    for number, line in enumerate(text.split("\n"), start=1):
        found = HEADER.match(line)
        if found is None:
            continue
        word = re.fullmatch(r"\s*:\s*(\w+)\s*", found["rest"])
        if number > 1:
            reason = "It stands further down, where it would have no effect."
            remedy = "Make it the first line of the file."
        elif word is None or word[1].lower() not in KINDS or "materialized" not in line.lower():
            reason = f'It reads "{line.strip()}".'
            remedy = 'Write "-- materialized: table" or "-- materialized: view".'
        else:
            kind = word[1].lower()
            continue
        raise MoverError(
            f"{path}, line {number}: unclear how the model is to be materialized",
            reason=reason,
            remedy=remedy,
            code="model-header",
            file=path,
            line=number,
        )
    return kind


def parse(path: str, text: str, *, dialect: str) -> tuple[exp.Expr, int, int]:
    """The one SELECT of a file: its tree, and where it begins and ends in the text."""
    try:
        tokens = sqlglot.tokenize(text, read=DIALECTS[dialect])
        ends = [token.start for token in tokens if token.token_type is TokenType.SEMICOLON]
        trees = [
            tree for tree in sqlglot.parse(text, read=DIALECTS[dialect]) if tree and not isinstance(tree, exp.Semicolon)
        ]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        raise unparsable(path, str(first.get("description") or error), line=first.get("line")) from error
    except TokenError as error:
        raise unclosed(path, error.__cause__ or error) from error
    if len(trees) != 1:
        found = "no statement" if not trees else f"{len(trees)} statements"
        raise not_one_select(path, f"It holds {found}.", line=None)
    tree = trees[0]
    start = next(token.start for token in tokens if token.token_type is not TokenType.SEMICOLON)
    line = text.count("\n", 0, start) + 1
    if not isinstance(tree, exp.Query):
        raise not_one_select(path, f"It begins with {text[start:].split(maxsplit=1)[0].upper()}.", line=line)
    if write := tree.find(*WRITES):
        raise not_one_select(path, f"It holds {write.key.upper()}, which writes or locks.", line=line)
    return tree, start, next((end for end in ends if end > start), len(text))


def unparsable(path: str, why: str, *, line: int | None) -> MoverError:
    where = f"{path}, line {line}" if line else path
    why = re.sub(r"<class 'sqlglot\.[\w.]*?(\w+)'>", r"\1", why)
    return MoverError(
        f"{where}: the SQL cannot be parsed",
        reason=" ".join(why.split()).rstrip(".") + ".",
        remedy="Correct the statement.",
        code="model-parse",
        file=path,
        line=line,
    )


def unclosed(path: str, error: BaseException) -> MoverError:
    """The text could not even be cut into words: something was opened and not closed, or a letter has no place."""
    found = re.search(r"Missing (.+) from (\d+):", str(error))
    if found is None:
        return unparsable(path, "A quote, a name or a comment is not closed", line=None)
    return unparsable(path, f"What begins here is not closed: {found[1]} is missing", line=int(found[2]))


def not_one_select(path: str, why: str, *, line: int | None) -> MoverError:
    return MoverError(
        f"{path} is not one SELECT statement",
        reason=f"{why} A model is exactly one SELECT; eltsite makes the table or view of it.",
        remedy="Leave the one SELECT (WITH may come before it), and put other statements elsewhere.",
        code="model-statement",
        file=path,
        line=line,
    )


def tables_read(tree: exp.Expr, *, schema: str) -> Iterable[str]:
    """Names of the tables it reads from the target schema, in lower case, without its own WITH names."""
    for table in tree.find_all(exp.Table):
        if not table.name or (table.db and table.db.lower() != schema.lower()):
            continue
        if table.db or not is_with_name(table):
            yield table.name.lower()


def is_with_name(table: exp.Table) -> bool:
    """Whether an unqualified name means a WITH query that can be seen from where it stands.

    `with orders as (select * from orders)` reads the table: a WITH query sees those before it, and itself only
    after RECURSIVE.
    """
    name = table.name.lower()
    inside: exp.Expr = table
    while inside.parent is not None:
        outside = inside.parent
        if isinstance(outside, exp.With):
            queries = outside.expressions
            seen = queries if outside.recursive else queries[: queries.index(inside)]
        else:
            clause = outside.args.get("with_")
            seen = clause.expressions if clause is not None and clause is not inside else []
        if any(query.alias.lower() == name for query in seen):
            return True
        inside = outside
    return False


def with_parents(model: Model, models: Mapping[str, Model]) -> Model:
    """The model with what it reads split into models and other tables."""
    parents = model.references & models.keys()
    return Model(model.name, model.kind, model.path, model.select, model.first_line, model.references, parents)


def in_order(models: Mapping[str, Model]) -> list[Model]:
    """Each model after those it reads; among equals by name, so that every run goes the same way."""
    sorter = graphlib.TopologicalSorter({name: model.parents for name, model in models.items()})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        raise circle(error.args[1], models) from error
    ready: list[str] = []
    ordered: list[Model] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, name)
        name = heapq.heappop(ready)
        ordered.append(models[name])
        sorter.done(name)
    return ordered


def circle(names: Sequence[str], models: Mapping[str, Model]) -> MoverError:
    """Models that read one another in a circle, or one that reads its own name."""
    model = models[min(names)]
    if len(set(names)) == 1:
        return MoverError(
            f"The model {model.name} reads itself",
            reason=f"{model.path} selects from {model.name}, which is the table or view it is to become.",
            remedy="Name the file differently from the tables it reads.",
            code="model-cycle",
            file=model.path,
        )
    # graphlib gives each name before the one that reads it; people read it the other way.
    way = " reads ".join(reversed(names))
    return MoverError(
        "SQL models read one another in a circle",
        reason=f"{way}.",
        remedy="Take one of these references out, so that there is a first model to build.",
        code="model-cycle",
        file=model.path,
    )
