"""Exit codes of the commands. `docs/cli.md` explains them to users."""

import signal

DONE = 0
FAILED = 1  # the system or the program failed
USAGE = 2  # the command line, the configuration or an input is wrong
INCOMPLETE = 3  # finished, but with clips that did not end well, altered files or broken rules
REVIEW = 4  # finished, with more clips to review than allowed
STOPPED = 5  # by the budget or the deadline
LOCKED = 6  # another process writes to the output
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
