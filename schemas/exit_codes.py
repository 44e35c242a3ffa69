"""The exit codes of the commands. `docs/cli.md` is generated from them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """An exit code with its meaning. A reserved code is documented but not produced yet."""

    meaning: str
    reserved: bool

    def __new__(cls, code: int, meaning: str, reserved: bool = False) -> "ExitCode":
        self = int.__new__(cls, code)
        self._value_ = code
        self.meaning = meaning
        self.reserved = reserved
        return self

    DONE = 0, "All work is done."
    FAILED = (
        1,
        "The run or the command failed. A system fault prints one sentence, a defect of the "
        "program prints a traceback. `doctor` also ends with 1 when a check fails.",
    )
    USAGE = 2, "The command line, the configuration or the manifest is wrong. Nothing was started."
    FAULTS = (
        3,
        "The command finished and found faults: quarantined, failed or held clips (an embargo does "
        "not count), altered files, an altered audit log, or broken rules.",
    )
    REVIEW = (
        4,
        "The run finished, and more of the clips that it published need review than "
        "`--max-review` allows.",
    )
    STOPPED = 5, "The run stopped at its deadline or its budget. Clips are left."
    LOCKED = 6, "Another process writes to the output. Nothing was started."
    INTERRUPTED = 130, "Ctrl-C interrupted the command. Finished work is kept."
    TERMINATED = 143, "SIGTERM ended the command. Finished work is kept."
