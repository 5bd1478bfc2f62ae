"""Import codings from the files of other tools."""
