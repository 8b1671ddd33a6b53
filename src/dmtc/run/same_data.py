"""Checks that a data set is still the one a run began with, wherever it is now."""

from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.data.record import data_differences
from dmtc.run.folder import RunFolder


def differences_from_run(folder: RunFolder, dataset: Dataset) -> list[str]:
    """How a data set differs from the one a run began with.

    Args:
        folder: The run's folder.
        dataset: The data set now.

    Returns:
        One remark per difference; empty if there is none.

    Raises:
        DataError: The run's record of its data is missing or damaged.
    """
    split, recorded = folder.read_split(), folder.read_data()
    try:
        split.check(dataset.train, dataset.masked)
    except DataError as error:
        return [str(error)]
    return data_differences(recorded, dataset)


def require_same_data(folder: RunFolder, dataset: Dataset) -> None:
    """Check that a data set is the one a run began with.

    Args:
        folder: The run's folder.
        dataset: The data set now.

    Raises:
        DataError: It is not; the message lists the differences.
    """
    if differing := differences_from_run(folder, dataset):
        raise DataError(
            f"these are not the data that {folder.path} started with: {'; '.join(differing)}; put them back, say"
            " where they are (dataset.root=DIR and the like), or start a new run"
        )
