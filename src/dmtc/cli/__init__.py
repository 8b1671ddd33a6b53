"""The command line: from arguments to a job and an exit code."""
