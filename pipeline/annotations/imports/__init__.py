"""Import of codings from the files of other tools."""
