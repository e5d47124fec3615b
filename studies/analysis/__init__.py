"""Tables of a study for papers and terminals."""
