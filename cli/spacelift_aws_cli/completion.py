"""`kubectl_complete-spacelift_aws`: what kubectl runs to complete the words after `kubectl spacelift-aws`.

kubectl gives the words so far, the last of them unfinished, and wants a line for each completion (a tab before its
description) and `:4` at the end: no files.
"""

import contextlib
import io
import os
import sys

NO_FILES = ":4"


def main() -> None:
    """Print the completions of the words in the arguments."""
    words = sys.argv[1:] or [""]
    os.environ["_KUBECTL_SPACELIFT_AWS_COMPLETE"] = "complete_fish"
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    os.environ["_TYPER_COMPLETE_ARGS"] = " ".join(["kubectl-spacelift-aws", *words])
    from spacelift_aws_cli.main import app

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        app(prog_name="kubectl-spacelift-aws")
    sys.stdout.write(out.getvalue())
    print(NO_FILES)
