"""The machine a command runs on: devices and threads, processes, signals, and what goes wrong with them."""
