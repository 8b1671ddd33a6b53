"""The faults a user can mend.

Each is one readable sentence: what is wrong, where, and what to do. The command line prints it without a traceback and
exits with code 2; every other exception is a bug of ours or of the machine and exits with code 1.
"""


class UserError(ValueError):
    """Something outside the library is wrong and the user can mend it.

    Examples:
        >>> import dmtc
        >>> try:
        ...     dmtc.splits.dmt_split(["one", "two"], ratio="1/8", fold=-1)
        ... except dmtc.core.errors.UserError as error:
        ...     print(error)
        split.fold should be 0 or more, but is -1
    """


class ConfigError(UserError):
    """A setting is unknown, missing, of the wrong type, or does not fit the others."""


class DataError(UserError):
    """A data set, an image, a mask or a list of ids is missing or malformed."""


class WeightsError(UserError):
    """A file of weights or a checkpoint is missing, unreadable, or does not fit the model."""


class TrainingError(RuntimeError):
    """Training itself went wrong, for example a loss that is not finite; not the fault of a setting or a file."""
