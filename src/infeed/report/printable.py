"""Names that can steer nothing: for whoever shows a batch."""

from infeed.printable import printable, printable_lines

__all__ = ["printable", "printable_lines"]
