"""What people think of samples: a signed table of judgements, who is asked what next, and the data sets that follow."""
