"""What a run leaves in its folder, and whether a folder is still that of the run: read, written, held together."""
