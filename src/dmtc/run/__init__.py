"""The folder of a run: reads and writes its files, and checks that they still belong to one run."""
