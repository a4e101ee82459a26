"""iSeg-2017 and iSeg-2019: layout, labels, checks, conversion and submission."""
