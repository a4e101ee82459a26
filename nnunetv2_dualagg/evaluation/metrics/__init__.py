"""Agreement of segmentations with a reference, summaries over cases and sites, and statistics."""
