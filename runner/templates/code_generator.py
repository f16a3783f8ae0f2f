"""The code that Jinja compiles a template to, with calls that check sizes and count steps."""

from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

from runner.templates.budget import STEPS_PER_INCLUDE


class BoundedCodeGenerator(CodeGenerator):
    """A code generator whose loops, includes, slices and `a ~ b` pass through methods of the sandbox."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        # The nodes are kept, so that no other node can get the id of one of them.
        self._wrapped: dict[int, tuple[nodes.Node, str]] = {}

    def get_visitor(self, node: nodes.Node) -> Any:
        """Return the function that writes a node, inside a call if it was wrapped in one."""
        return super().get_visitor(node) if id(node) not in self._wrapped else self._write_wrapped

    def _write_wrapped(self, node: nodes.Node, *args: Any, **named: Any) -> None:
        _, function = self._wrapped.pop(id(node))
        self.write(f"environment.{function}(")
        self.visit(node, *args, **named)
        self.write(")")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802 - as Jinja has it
        """Write a loop that counts its values."""
        self._wrapped[id(node.iter)] = (node.iter, "budget.watch_loop")
        super().visit_For(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 - as Jinja has it
        """Write `a[b]`; a slice counts the steps of a copy."""
        if isinstance(node.arg, nodes.Slice):
            self._wrapped[id(node.node)] = (node.node, "watch_slice")
        super().visit_Getitem(node, frame)

    def visit_Include(self, node: nodes.Include, frame: Frame) -> None:  # noqa: N802 - as Jinja has it
        """Write an include that counts steps, because templates can include each other."""
        self.writeline(f"environment.budget.spend({STEPS_PER_INCLUDE})", node)
        super().visit_Include(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - as Jinja has it
        """Write the call to `concatenate`."""
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")
