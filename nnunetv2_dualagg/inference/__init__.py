"""Using trained models: one infant or a whole data set, a model as one file, which models this installation can use."""
