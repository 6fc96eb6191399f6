"""Start the executable: `dstore …`, and `python -m dstore …` alike.

Where to go next: `dstore/cli/program.py` knows the commands.
"""

import sys


def main() -> int:
    """Run the command that the arguments name.

    Returns: the exit status, as `dstore.cli.failures.ExitCode` lists them.
    """
    try:
        from dstore.cli.program import run  # click is imported when something is run, not before

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C before click was there to see it
        return 130


if __name__ == "__main__":
    sys.exit(main())
