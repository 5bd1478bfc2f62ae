"""Write predictions, codings and the counts of a review to files for reviewers and for other programs."""
