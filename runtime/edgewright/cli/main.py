"""The `edgewright` command.

``VERBS`` is the whole command line: a verb, the module that holds it, and one line of help. A module is imported
only when its verb is called, so that ``edgewright --help`` answers at once on a small board. Each module has
``EPILOG``, ``add_arguments(parser)`` and ``run(args)``, which returns an exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError, ExitCode, OutputError
from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["VERBS", "main"]

VERBS: Mapping[str, str] = {
    "optimize": "turn a float model into a judged INT8 bundle",
    "inspect": "show what a bundle holds",
    "report": "render a bundle's report again",
    "verify": "prove a bundle on this machine: digests, then golden vectors",
    "bench": "time a bundle on this machine",
    "run": "watch a camera or a file with a bundle",
    "ingest": "receive events from devices into a database",
    "profiles": "the boards edgewright knows",
    "deploy": "install runtime, service and bundle on a board over SSH, proven there",
    "install": "the same on the board itself",
    "wheelhouse": "collect every wheel a board needs, for boards without a network",
    "doctor": "what this machine, a board, its cameras and its broker can really do",
}

_DESCRIPTION = "Takes a vision model from a workstation to a camera on a small board, and keeps it honest there."
_EPILOG = """\
examples:
  edgewright optimize examples.person.model:factory --weights frozen_inference_graph.pb \\
      --calibrate clip.avi --min-agreement 90 -o person.edge
  edgewright verify person.edge
  edgewright run person.edge --source clip.avi --annotate seen.mp4
  edgewright deploy pi@gate-1.local person.edge --profile raspberry-pi-5 --source 0

exit codes:
  0 done, and the contract passed     1 a defect of ours        2 bad usage or bad input
  3 the contract failed               4 inconclusive            5 a needed extra or tool is missing
  130 interrupted (Ctrl-C, SIGTERM)   141 the reader of the output went away
"""
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        argv: Arguments without the program's name; the process's own when None.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, verbs = _parser(arguments)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:  # said by the verb's own parser, whose usage helps
        verbs.get(args.verb, parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    if args.verb is None:
        parser.print_help()
        return ExitCode.BAD_INPUT
    try:
        with _terminated_like_interrupted():
            return _run(args.verb, args)
    except EdgewrightError as error:
        # It may hold names out of files.
        print(f"edgewright {args.verb}: {plain(str(error))}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print(f"edgewright {args.verb}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`edgewright inspect X | head`): nobody is left to tell.
        _discard_output()
        return _BROKEN_PIPE


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Makes SIGTERM end a verb the way Ctrl-C does, so that temporary files go; verbs may set their own handler."""
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(verb: str, args: argparse.Namespace) -> int:
    try:
        code = int(_module(verb).run(args))
        sys.stdout.flush()  # here, and not at exit, where a full disk behind `> FILE` would be a traceback
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:  # a file that a verb works on: its own code should have said more
            raise
        _discard_output()
        msg = f"cannot write the output: {error.strerror or error}"
        raise OutputError(msg) from error
    return code


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="edgewright",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgewright {version('edgewright')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_VerbParser)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for verb, help_line in VERBS.items():
        sub = verbs.add_parser(
            verb,
            help=help_line,
            description=help_line[0].upper() + help_line[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb == called:
            module = _module(verb)
            sub.epilog = module.EPILOG
            module.add_arguments(sub)
    return parser, dict(verbs.choices)


class _VerbParser(argparse.ArgumentParser):
    """Takes a verb's words and options in any order: ``deploy HOST --profile NAME BUNDLE``.

    argparse hands out all words that may be absent as soon as it meets an option, and then knows no place for later ones.
    Its way round that cannot do subcommands, and forgets what ``--`` says.
    """

    _apart = False

    def parse_known_args(  # type: ignore[override]  # argparse has overloads for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As ``ArgumentParser`` does, options first and words afterwards."""
        if self._apart or self._subparsers is not None or "--" in (args or ()):
            return super().parse_known_args(args, namespace)
        self._apart = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._apart = False


def _module(verb: str) -> _Verb:
    return importlib.import_module(f"edgewright.cli.{verb}")


if TYPE_CHECKING:
    from typing import Protocol

    class _Verb(Protocol):
        EPILOG: str

        def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

        def run(self, args: argparse.Namespace) -> int: ...


if __name__ == "__main__":
    sys.exit(main())
