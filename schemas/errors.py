"""The errors raised on purpose. Anything else that escapes is a defect and keeps its traceback."""

from schemas.reasons import REASONS, FaultState, Reason


class ArchiveError(Exception):
    """A fault the user can mend: one line, and `exit_code` is the exit status of the command."""

    exit_code: int

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def message(self) -> str:
        """The message on one line."""
        return " ".join(str(self.args[0]).split())

    def __str__(self) -> str:
        return self.message


class ClipFault(ArchiveError):
    """An expected failure of one clip: it becomes the clip's row, never a traceback.

    `args` holds (reason, sentence), which pickle passes on: a fault crosses processes whole.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence, exit_code=3)
        self.args = (reason, sentence)
        self.reason = Reason(reason)
        self.retried = False  # transient, and its retries are exhausted

    @property
    def message(self) -> str:
        """The sentence on one line."""
        return " ".join(str(self.args[1]).split())

    @property
    def sentence(self) -> str:
        """What happened to this clip, in a sentence on one line."""
        return self.message

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return REASONS[self.reason].next_step

    @property
    def state(self) -> FaultState:
        """The state the clip ends in."""
        return REASONS[self.reason].state

    @property
    def transient(self) -> bool:
        """Whether it may pass by itself."""
        return REASONS[self.reason].kind == "transient"

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
