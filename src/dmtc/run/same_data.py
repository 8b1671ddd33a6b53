"""Whether a data set is that which a run began with, wherever it lies now."""

from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.data.record import data_differences
from dmtc.run.folder import RunFolder


def differences_from_run(folder: RunFolder, dataset: Dataset) -> list[str]:
    """In what a data set differs from that which a run began with.

    Args:
        folder: Of the run.
        dataset: As it is now.

    Returns:
        One remark each; empty if it is the same.

    Raises:
        DataError: What was recorded is missing or damaged.
    """
    split, recorded = folder.read_split(), folder.read_data()
    try:
        split.check(dataset.train, dataset.masked)
    except DataError as error:
        return [str(error)]
    return data_differences(recorded, dataset)


def require_same_data(folder: RunFolder, dataset: Dataset) -> None:
    """See that a data set is that which a run began with.

    Args:
        folder: Of the run.
        dataset: As it is now.

    Raises:
        DataError: It is not; the message says in what it differs.
    """
    if differing := differences_from_run(folder, dataset):
        raise DataError(
            f"these are not the data that {folder.path} was begun with: {'; '.join(differing)}; put them back, name"
            " their place (dataset.root=DIR and the like), or start a new run"
        )
