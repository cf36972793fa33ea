"""A net as one C99 header, C++-clean. In: Deployed. Out: the header, its budget, and the proof that it agrees.

`run.h` is the C that every header shares, `cell.h` the cells' mathematics as they stand in csrc; both are pasted in whole.
"""

from tidegate.export.c.header import header
from tidegate.export.c.prove import Proof, prove
from tidegate.export.c.record import Header

__all__ = ["Header", "Proof", "header", "prove"]
