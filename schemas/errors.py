"""The errors raised on purpose. Every other exception is a defect and keeps its traceback."""

from schemas.exit_codes import ExitCode
from schemas.reasons import REASONS, FaultState, Reason

LONGEST = 4_000  # characters of a message


def one_line(text: object) -> str:
    """The text on one line. Of untrusted text, nothing can move a terminal's cursor or cut it off.

    What cannot be printed becomes U+FFFD, and beyond `LONGEST` characters an ellipsis stands.
    """
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in shown)
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


class ArchiveError(Exception):
    """A fault that the user can correct. The command prints one line and ends with `exit_code`."""

    exit_code: int

    def __init__(self, message: str, *, exit_code: int = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def message(self) -> str:
        """The message on one line."""
        return one_line(self.args[0])

    def __str__(self) -> str:
        return self.message


class ClipFault(ArchiveError):
    """An expected fault of one clip. It becomes the row of the clip, never a traceback.

    `args` holds (reason, sentence), so that a pickled fault keeps both in another process.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence, exit_code=ExitCode.FAULTS)
        self.args = (reason, sentence)
        self.reason = Reason(reason)
        self.retried = False  # True when the fault is transient and its retries are exhausted

    @property
    def message(self) -> str:
        """The sentence on one line."""
        return one_line(self.args[1])

    @property
    def sentence(self) -> str:
        """What happened to this clip, on one line."""
        return self.message

    @property
    def next_step(self) -> str:
        """What to do next."""
        return REASONS[self.reason].next_step

    @property
    def state(self) -> FaultState:
        """The state in which the clip ends."""
        return REASONS[self.reason].state

    @property
    def transient(self) -> bool:
        """True when the fault can pass by itself."""
        return REASONS[self.reason].kind == "transient"

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
