"""The demo: all of the package on the phantom."""
