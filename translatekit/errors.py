"""The errors a user can cause. Each carries one sentence: what is wrong, and what to do about it.

The command line prints the sentence and exits with status 1; it never shows a traceback for one of these.
"""

import signal


class TranslatekitError(Exception):
    """Base of every error that is the user's to mend."""


class TranslatekitWarning(UserWarning):
    """What the user should know while the program goes on; the command line prints its sentence to stderr."""


class PluginError(TranslatekitError):
    """A plugin is broken, missing, or in conflict with another."""


class OptionError(TranslatekitError):
    """An option has an unknown name or a value that does not fit."""


class DataError(TranslatekitError):
    """The images are missing, unreadable, unmatched, or too small or few for what is asked of them."""


class ModelFileError(TranslatekitError):
    """A model or checkpoint file is missing, damaged, or not one of ours."""


class StorageError(TranslatekitError):
    """A file or an object cannot be read or written: a full disk, missing permission or credentials, no network."""


class TrainingError(TranslatekitError):
    """A training run cannot start or go on: a loss that is not a number, a full disk, an occupied folder."""


class Stopped(KeyboardInterrupt):
    """A signal that asks the program to end. Whatever tidies up after Ctrl-C does so after the others, too.

    Attributes:
        status: what the program exits with: 128 and the signal's number, as shells have it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
