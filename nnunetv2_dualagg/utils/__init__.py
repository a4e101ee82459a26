"""What every other part may use: errors, files, processes, JSON, tables, nnU-Net's folders. It imports none of them."""
