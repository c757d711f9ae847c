"""The append-only record of runs."""

from actloop.journal.base import (
    Journal,
    JournalError,
    MemoryJournal,
    NullJournal,
    RunSummary,
    UnknownRunError,
    data_folder,
    default_journal,
)

__all__ = [
    "Journal",
    "JournalError",
    "MemoryJournal",
    "NullJournal",
    "RunSummary",
    "UnknownRunError",
    "data_folder",
    "default_journal",
]
