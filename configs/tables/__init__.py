"""What the comparison tables of each data set hold."""
