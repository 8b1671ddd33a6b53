"""The machine that a command runs on: devices, threads, processes, signals and machine failures."""
