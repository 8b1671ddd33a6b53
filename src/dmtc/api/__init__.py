"""The Python API: start a run, resume one, or read a finished one."""
