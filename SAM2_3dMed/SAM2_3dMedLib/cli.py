"""The command line `sam2-3dmed`: how it ends. Its options are in `cli_app`.

That is imported within `main`, so that Ctrl-C ends the program in the same way while typer is still being imported,
which takes half a second.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Bad input is one sentence on stderr and 2."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("Canceled; no file was left half-written.", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from .cli_app import app
    from .commands.errors import BAD_INPUT, sentence_for
    from .commands.termination import Terminated

    # click's base of all errors in the options; typer vendors click or depends on it, by its version.
    option_error = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a segment's name is no reason to fail
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="sam2-3dmed", standalone_mode=False)
        if code == INTERRUPTED:  # typer's own answer to Ctrl-C, without a word
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort as end:
        raise KeyboardInterrupt from end
    except Terminated as end:
        print("Ended from outside; no file was left half-written.", file=sys.stderr)
        return end.exit_code
    except option_error as error:
        # A command without its subcommand gets its help text, many lines; anything else is one sentence.
        asked_nothing = type(error).__name__ == "NoArgsIsHelpError"
        print(error.format_message() if asked_nothing else " ".join(error.format_message().split()), file=sys.stderr)
        return BAD_INPUT
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
