"""Errors that the user can fix.

Each message is one readable sentence: what is wrong, where, and what to do. The command line prints it without a
traceback and exits with code 2. Any other exception is a bug or a machine failure and exits with code 1.
"""


class UserError(ValueError):
    """Something outside the library is wrong, and the user can fix it.

    Examples:
        >>> import dmtc
        >>> try:
        ...     dmtc.splits.dmt_split(["one", "two"], ratio="1/8", fold=-1)
        ... except dmtc.core.errors.UserError as error:
        ...     print(error)
        split.fold should be 0 or more, but is -1
    """


class ConfigError(UserError):
    """A setting is unknown, missing, of the wrong type, or conflicts with another one."""


class DataError(UserError):
    """A data set, image, mask or id list is missing or malformed."""


class WeightsError(UserError):
    """A weights file or checkpoint is missing, unreadable, or does not fit the model."""


class TrainingError(RuntimeError):
    """Training itself failed, for example with a non-finite loss; no setting or file is at fault."""
