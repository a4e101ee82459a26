"""The simulated scans of the phantom: anatomy, deformation and contrast, arrays in and arrays out."""
