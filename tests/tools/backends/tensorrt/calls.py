"""What our sources use of TensorRT and pycuda, read off the sources themselves."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """A name in a library, and how it is called.

    Attributes:
        where: file and line.
        path: dotted, from the library, such as ``Builder.create_network``.
        versions: ``8``, ``10`` or ``rtx`` inside of a function or class of that ending, else nothing.
        arguments: positional ones of a call, or parameters of a method that we override; None for neither.
        keywords: of a call.
    """

    where: str
    path: str
    versions: str = ""
    arguments: int | None = None
    keywords: tuple[str, ...] = ()


def find_uses(source: Path, library: str) -> list[Use]:
    """Every use of a library in a file.

    Args:
        source: the file, in which every variable that holds one of the library's objects is annotated or made by
            calling its class.
        library: the name that the library is imported as.
    """
    finder = _Finder(source.name, library)
    finder.visit(ast.parse(source.read_text()))
    return finder.uses


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, library: str) -> None:
        self.file, self.library = file, library
        self.uses: list[Use] = []
        self.types: list[dict[str, str]] = [{}]
        self.versions = ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, ending = self.versions, node.name.rpartition("_")[2]
        self.versions = ending if ending in ("8", "10", "rtx") else before
        self.types.append(dict(self.types[-1]))
        for argument in node.args.args + node.args.kwonlyargs:
            if argument.annotation is not None:
                self.declare(argument.arg, argument.annotation)
        self.generic_visit(node)
        self.types.pop()
        self.versions = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before, self.versions = self.versions, "rtx" if node.name.endswith("Rtx") else self.versions
        for base in filter(None, map(self.path, node.bases)):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    self.add(member, f"{base}.{member.name}", arguments=len(member.args.args) - 1)
        self.types.append(dict(self.types[-1]))
        for inner in ast.walk(node):  # attributes of self, wherever they are set
            if isinstance(inner, ast.AnnAssign):
                self.declare(ast.unparse(inner.target), inner.annotation)
        self.generic_visit(node)
        self.types.pop()
        self.versions = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.declare(ast.unparse(node.target), node.annotation)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self.path(node)
        if path is not None:
            self.add(node, path)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        path = self.path(node.func)
        if path is not None and not any(isinstance(argument, ast.Starred) for argument in node.args):
            keywords = tuple(keyword.arg or "" for keyword in node.keywords)
            self.add(node, path, arguments=len(node.args), keywords=keywords)
        self.generic_visit(node)

    def declare(self, name: str, annotation: ast.expr) -> None:
        """Remember the type of a variable, where it is one of the library's, or one of those or None."""
        if isinstance(annotation, ast.BinOp):
            annotation = annotation.left
        path = self.path(annotation)
        if path is not None:
            self.types[-1][name] = path
        else:
            self.types[-1].pop(name, None)

    def path(self, node: ast.AST) -> str | None:
        """The dotted path in the library of an expression, or None."""
        if not isinstance(node, ast.Attribute):
            return None
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id == self.library:
            return node.attr
        known = self.types[-1].get(ast.unparse(owner))
        outer = known if known is not None else self.path(owner)
        return None if outer is None else f"{outer}.{node.attr}"

    def add(self, node: ast.expr | ast.stmt, path: str, **call: object) -> None:
        self.uses.append(Use(f"{self.file}:{node.lineno}", path, self.versions, **call))  # type: ignore[arg-type]
