"""`edgewright doctor`: what a workstation, a board, its cameras and its broker can really do.

``command`` is the verb. A check is a function from what it may look at (``look.Look``) to findings; ``command.CHECKS`` is
all of them. What might crash, hang or take long runs in a process of its own (``asking`` here, ``child`` there), all of
them at once.
"""

from edgewright.cli.doctor.command import EPILOG, add_arguments, run

__all__ = ["EPILOG", "add_arguments", "run"]
