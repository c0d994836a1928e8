"""Reads a Varlink interface description and says whether JSON values are of its types."""

import re

from support import SOURCE

BUILTIN = {"bool": bool, "int": int, "string": str, "object": dict}


class Schema:
    def __init__(self, text=(SOURCE / "src/api/org.vmad.Queue.varlink").read_text()):
        self.tokens = re.findall(r"->|\[\]|\[string\]|[\w.]+|[?:,()]", re.sub(r"#.*", "", text))
        self.types, self.methods, self.errors = {}, {}, {}
        self.take("interface")
        self.name = self.take()
        while self.tokens:
            kind, name = self.take(), self.take()
            if kind == "method":
                parameters = self.read_type()
                self.take("->")
                self.methods[name] = (parameters, self.read_type())
            else:
                {"type": self.types, "error": self.errors}[kind][name] = self.read_type()

    def take(self, expected=None):
        token = self.tokens.pop(0)
        assert expected in (None, token), (expected, token)
        return token

    def read_type(self):
        """A name; ("?", type); ("[]", type); ("[string]", type); {field: type}, whose types are None for an enum."""
        token = self.take()
        if token in ("?", "[]", "[string]"):
            return token, self.read_type()
        if token != "(":
            return token
        fields = {}
        while self.tokens[0] != ")":
            field = self.take()
            fields[field] = None
            if self.tokens[0] == ":":
                self.take()
                fields[field] = self.read_type()
            if self.tokens[0] == ",":
                self.take()
        self.take(")")
        return fields

    def check(self, kind, value, where="value"):
        """Asserts that the value is of the type: all fields of a struct, but nullable ones, and no others."""
        if isinstance(kind, str) and kind in BUILTIN:
            assert type(value) is BUILTIN[kind], f"{where} is no {kind}: {value!r}"
        elif isinstance(kind, str):
            self.check(self.types[kind], value, where)
        elif isinstance(kind, tuple) and kind[0] == "[]":
            for number, item in enumerate(value):
                self.check(kind[1], item, f"{where}[{number}]")
        elif isinstance(kind, tuple) and kind[0] == "[string]":
            for name, item in value.items():
                self.check(kind[1], item, f"{where}[{name!r}]")
        elif isinstance(kind, tuple):
            if value is not None:
                self.check(kind[1], value, where)
        elif kind and None in kind.values():
            assert value in kind, f"{where} is none of {list(kind)}: {value!r}"
        else:
            assert isinstance(value, dict), f"{where} is no struct: {value!r}"
            assert set(value) <= set(kind), f"{where} has undeclared fields: {set(value) - set(kind)}"
            for field, its_kind in kind.items():
                if field in value or not (isinstance(its_kind, tuple) and its_kind[0] == "?"):
                    self.check(its_kind, value[field], f"{where}.{field}")
