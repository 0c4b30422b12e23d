"""What people look at: the rows of a batch, and a batch as a page of pictures."""
