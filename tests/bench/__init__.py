"""`make bench`: this project beside named peers doing the same work in the same run."""
