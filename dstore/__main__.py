"""Start the executable: `dstore …`, and `python -m dstore …` alike.

Where to go next: `dstore/cli/program.py` knows the commands.
"""

import sys


def main() -> int:
    """Run the command that the arguments name.

    Returns: the exit status, as `dstore.cli.failures.ExitCode` lists them.
    """
    from dstore.cli.program import run  # click is imported when something is run, not before

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
