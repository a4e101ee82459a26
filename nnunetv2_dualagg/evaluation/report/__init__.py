"""The HTML report of a comparison: one file that opens offline, with a viewer for the volumes."""
